"""Lists and searches as answers: headers, and a body in one piece or streamed."""

from typing import Any, NamedTuple
from urllib.parse import urlencode

from crud_service.api.lists.list_request import (
    ListRequest,
    last_change,
    page_links,
    parse_list_request,
)
from crud_service.api.lists.list_rows import ListOf, fetch_rows, page_pieces, remaining_chunks
from crud_service.api.lists.page_links import Rows
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


class FoundList(NamedTuple):
    """A page, or the first chunk of a complete list; `listed` is limited by the filters."""

    listed: ListOf
    requested: ListRequest
    rows: Rows


class ListAnswer(NamedTuple):
    """The headers and the body of a 200."""

    headers: dict[str, str]
    body: bytes | StreamedBody


def read_list(listed: ListOf, query: str) -> FoundList | None:
    """Read the page that a query string asks for; None if the list's parent does not exist.

    Raises MalformedBody (400) and ValidationFailed (422) for a bad query string.
    """
    requested = parse_list_request(listed.collection, query)
    listed = ListOf(requested.collection, {**listed.owner, **requested.filters})
    rows = fetch_rows(listed, requested.page, requested.after)
    return None if rows is None else FoundList(listed, requested, rows)


def answer_list(found: FoundList, url: str) -> ListAnswer:
    """Return the answer: in one piece if it is short, else to be streamed.

    `url` is that of the list, for links. Raises Overloaded if too many long answers are being
    read.
    """
    listed, requested, rows = found
    page = requested.page
    headers = {"X-Total-Count": str(rows.total)}
    if (change := last_change(requested, rows)) is not None:
        headers["X-Last-Change"] = str(change)
    if neighbours := page_links(url, requested, rows):
        headers["Link"] = neighbours
    token = listed.owner.get("access_token", "")
    if page is None and rows.more:
        chunks = remaining_chunks(listed, rows)
        return ListAnswer(headers, StreamedBody(COMPLETE_LISTS, token, chunks))
    if page is not None and rows.rest:
        pieces = page_pieces(listed, rows)
        return ListAnswer(headers, StreamedBody(LONG_PAGES, token, pieces))
    whole = rows.as_array()
    if len(whole) > LARGE_BYTES:
        return ListAnswer(headers, StreamedBody(LONG_PAGES, token, sliced(whole)))
    return ListAnswer(headers, whole)


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
