"""Search within a chat: what is asked is checked here, answered by `crud_service.search`."""

from typing import get_args
from urllib.parse import urlencode

import orjson
from django.http import HttpRequest, HttpResponse

from contract.fields import MISSING, check_keyword
from contract.problems import NotFound, ValidationFailed
from crud_service.chat.api_view import ApiView, find_fields
from crud_service.chat.not_stored_yet import missing_chat
from crud_service.chat.pages import DEFAULT_LIMIT, parse_limit
from crud_service.public_urls import public_url
from crud_service.responses import json_response
from crud_service.search.search import SearchQuery, Sort, search_messages

SORTS: tuple[Sort, ...] = get_args(Sort)
PARAMETERS = ("keyword", "limit", "sort", "highlight", "cursor")


class SearchView(ApiView):
    """`/applications/{access_token}/chats/{chat_number}/messages/search`"""

    def get(self, request: HttpRequest, access_token: str, chat_number: int) -> HttpResponse:
        query = parse_query(find_fields(request, PARAMETERS))
        try:
            page = search_messages(access_token, chat_number, query)
        except NotFound as problem:
            raise missing_chat(access_token, chat_number) from problem
        headers: dict[str, str] = {"X-Search-Backend": page.backend}
        if page.next_cursor is not None:
            following = next_page(query, page.next_cursor)
            url = public_url(request.META, request.path.rstrip("/"))
            headers["Link"] = f'<{url}?{urlencode(following)}>; rel="next"'
        return json_response(orjson.dumps(page.items), headers=headers)


def parse_query(fields: dict[str, object]) -> SearchQuery:
    """A search as it was asked for; raises 422 for what it cannot be."""
    sent = {name: value for name, value in fields.items() if value is not MISSING}
    cursor = sent.get("cursor")
    if cursor is not None and not isinstance(cursor, str):
        raise ValidationFailed("cursor", "Must be a string.")
    return SearchQuery(
        keyword=check_keyword(fields["keyword"]),
        limit=parse_limit(sent.get("limit", DEFAULT_LIMIT)),
        sort=parse_sort(sent.get("sort", "relevance")),
        highlight=parse_highlight(sent.get("highlight", False)),
        cursor=cursor,
    )


def parse_sort(value: object) -> Sort:
    """An order of results; raises 422."""
    for sort in SORTS:
        if value == sort:
            return sort
    raise ValidationFailed("sort", f"Must be one of {', '.join(SORTS)}.")


def parse_highlight(value: object) -> bool:
    """Whether to highlight, from a query string or from JSON; raises 422."""
    if value in ("false", False):
        return False
    if value in ("true", True):
        return True
    raise ValidationFailed("highlight", "Must be true or false.")


def next_page(query: SearchQuery, cursor: str) -> dict[str, object]:
    """The parameters of the page behind a page."""
    parameters: dict[str, object] = {"keyword": query.keyword, "limit": query.limit}
    if query.sort != "relevance":
        parameters["sort"] = query.sort
    if query.highlight:
        parameters["highlight"] = "true"
    return parameters | {"cursor": cursor}
