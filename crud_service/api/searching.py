"""The search endpoint: parse and check its parameters, and build the answer."""

from collections.abc import Mapping
from typing import Any, get_args
from urllib.parse import urlencode

from crud_service.api.pages import DEFAULT_LIMIT, parse_limit
from crud_service.api.public_urls import public_url
from crud_service.search.query.search import SearchQuery, Sort, search_messages
from web.fields import MISSING, check_keyword
from web.problems import ValidationFailed

SORTS: tuple[Sort, ...] = get_args(Sort)
PARAMETERS = ("keyword", "limit", "sort", "highlight", "cursor")


def answer_search(
    environ: Mapping[str, Any], access_token: str, chat_number: int, sent: Mapping[str, object]
) -> tuple[bytes, dict[str, str]]:
    """Run a search and return the answer's body and headers.

    Raises NotFound if the chat does not exist, and ValidationFailed for bad parameters.
    """
    query = parse_query(sent)
    page = search_messages(access_token, chat_number, query)
    headers: dict[str, str] = {"X-Search-Backend": page.backend}
    if page.next_cursor is not None:
        following = next_page(query, page.next_cursor)
        url = public_url(environ, environ["PATH_INFO"].rstrip("/"))
        headers["Link"] = f'<{url}?{urlencode(following)}>; rel="next"'
    return page.items, headers


def parse_query(sent: Mapping[str, object]) -> SearchQuery:
    """Parse the search parameters; raise ValidationFailed (422)."""
    cursor = sent.get("cursor")
    if cursor is not None and not isinstance(cursor, str):
        raise ValidationFailed("cursor", "Must be a string.")
    return SearchQuery(
        keyword=check_keyword(sent.get("keyword", MISSING)),
        limit=parse_limit(sent.get("limit", DEFAULT_LIMIT)),
        sort=parse_sort(sent.get("sort", "relevance")),
        highlight=parse_highlight(sent.get("highlight", False)),
        cursor=cursor,
    )


def parse_sort(value: object) -> Sort:
    """Parse the order of results; raise ValidationFailed (422)."""
    for sort in SORTS:
        if value == sort:
            return sort
    raise ValidationFailed("sort", f"Must be one of {', '.join(SORTS)}.")


def parse_highlight(value: object) -> bool:
    """Parse the highlight flag from a query string or JSON; raise ValidationFailed (422)."""
    if value in ("false", False):
        return False
    if value in ("true", True):
        return True
    raise ValidationFailed("highlight", "Must be true or false.")


def next_page(query: SearchQuery, cursor: str) -> dict[str, object]:
    """Return the query parameters of the next page."""
    parameters: dict[str, object] = {"keyword": query.keyword, "limit": query.limit}
    if query.sort != "relevance":
        parameters["sort"] = query.sort
    if query.highlight:
        parameters["highlight"] = "true"
    return parameters | {"cursor": cursor}
