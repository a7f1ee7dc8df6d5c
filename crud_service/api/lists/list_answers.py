"""Lists and searches as answers: headers, and a body in one piece or streamed."""

from typing import Any, NamedTuple

from crud_service.api.lists.list_request import ListRequest, parse_list_request
from crud_service.api.lists.list_rows import Rows, complete_list, fetch_rows, page_in_pieces
from crud_service.api.lists.page_links import next_link, page_links
from crud_service.api.lists.streamed_body import (
    COMPLETE_LISTS,
    LARGE_ANSWERS,
    LARGE_BYTES,
    LONG_PAGES,
    StreamedBody,
    sliced,
)
from crud_service.api.not_stored_yet import missing_chat
from crud_service.chat.filters import FILTERS
from crud_service.search.query.search import SearchQuery, search_messages
from web.problems import NotFound


class ListAnswer(NamedTuple):
    """The headers and the body of a 200."""

    headers: dict[str, str]
    body: bytes | StreamedBody


def answer_list(complete: ListRequest, query: bytes, url: str) -> ListAnswer | None:
    """Answer with a page of a list, or with all of it.

    Args:
        complete: the list, as it is without a query string.
        query: the query string, percent-encoded.
        url: that of the list, for links.

    Returns:
        The answer; None if the list's parent does not exist. Raises MalformedBody (400) and
        ValidationFailed (422) for a bad query string, and Overloaded if too many long ones are
        being read.
    """
    request = parse_list_request(complete, query)
    rows = fetch_rows(request)
    if rows is None:
        return None
    headers = {"X-Total-Count": str(rows.total)}
    if (change := last_change(request, rows)) is not None:
        headers["X-Last-Change"] = str(change)
    if links := page_links(url, request, rows):
        headers["Link"] = links
    return ListAnswer(headers, _body(request, rows))


def last_change(request: ListRequest, rows: Rows) -> int | None:
    """Return the last change that a client has seen once it has these rows."""
    is_cut_short = request.limit is not None and rows.has_higher
    return rows.last_key if request.lists_changes and is_cut_short else rows.last_change


def _body(request: ListRequest, rows: Rows) -> bytes | StreamedBody:
    token = request.parent.get("access_token", "")
    if request.limit is None and rows.has_higher:
        return StreamedBody(COMPLETE_LISTS, token, complete_list(request, rows))
    if rows.rest:
        return StreamedBody(LONG_PAGES, token, page_in_pieces(request, rows))
    whole = rows.as_array()
    if len(whole) > LARGE_BYTES:
        return StreamedBody(LONG_PAGES, token, sliced(whole))
    return whole


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
        headers["Link"] = next_link(url, next_page(query, page.next_cursor))
    if len(page.items) <= LARGE_BYTES:
        return ListAnswer(headers, page.items)
    length = len(page.items)
    headers["Content-Length"] = str(length)
    pieces = sliced(page.items)
    return ListAnswer(headers, StreamedBody(LARGE_ANSWERS, access_token, pieces, length))


def next_page(query: SearchQuery, cursor: str) -> dict[str, object]:
    """Return the parameters of the page that begins at a cursor."""
    parameters: dict[str, object] = {"keyword": query.keyword, "limit": query.limit}
    if query.sort != "relevance":
        parameters["sort"] = query.sort
    if query.highlight:
        parameters["highlight"] = "true"
    return {**parameters, **query.filters, "cursor": cursor}
