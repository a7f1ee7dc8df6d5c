"""Searches as answers: the messages that were found, and a link to the next page."""

from typing import Any
from urllib.parse import urlencode

from crud_service.api.lists.list_answers import ListAnswer
from crud_service.api.lists.streamed_body import LARGE_ANSWERS, LARGE_BYTES, StreamedBody, sliced
from crud_service.api.not_stored_yet import missing_chat
from crud_service.chat.filters import FILTERS
from crud_service.search.query.search import SearchQuery, search_messages
from web.problems import NotFound


def answer_search(
    fields: dict[str, Any], access_token: str, chat_number: int, url: str
) -> ListAnswer:
    """Search a chat; a page above LARGE_BYTES is to be streamed.

    Args:
        fields: all of `SearchFields`, validated.
        access_token: the application's.
        chat_number: the chat's.
        url: that of the search, without its query, for the link.

    Raises the Problem of any other outcome than 200: what `missing_chat` returns for a chat that
    cannot be searched, ValidationFailed for a cursor of another search, Overloaded if too many
    large pages are being read.
    """
    filters = {name: fields[name] for name in FILTERS if fields[name] is not None}
    others = {name: value for name, value in fields.items() if name not in FILTERS}
    query = SearchQuery(**others, filters=filters)
    try:
        page = search_messages(access_token, chat_number, query)
    except NotFound as problem:
        raise missing_chat(access_token, chat_number) from problem
    headers: dict[str, str] = {"X-Search-Backend": page.backend}
    if page.next_cursor is not None:
        headers["Link"] = f'<{url}?{urlencode(next_page(query, page.next_cursor))}>; rel="next"'
    if len(page.items) <= LARGE_BYTES:
        return ListAnswer(headers, page.items)
    length = len(page.items)
    headers["Content-Length"] = str(length)
    pieces = sliced(page.items)
    return ListAnswer(headers, StreamedBody(LARGE_ANSWERS, access_token, pieces, length))


def next_page(query: SearchQuery, cursor: str) -> dict[str, object]:
    parameters: dict[str, object] = {"keyword": query.keyword, "limit": query.limit}
    if query.sort != "relevance":
        parameters["sort"] = query.sort
    if query.highlight:
        parameters["highlight"] = "true"
    return {**parameters, **query.filters, "cursor": cursor}
