"""Lists as answers: complete ones, streamed, and single pages with links to their neighbours."""

from typing import NamedTuple

from crud_service.api.lists.list_rows import ListOf, fetch_rows, page_pieces, remaining_chunks
from crud_service.api.lists.pages import Rows
from crud_service.api.lists.requested_rows import (
    RequestedRows,
    last_change,
    page_links,
    requested_rows,
)
from crud_service.api.lists.streamed_body import (
    COMPLETE_LISTS,
    LARGE_BYTES,
    LONG_PAGES,
    StreamedBody,
    sliced,
)


class FoundList(NamedTuple):
    """A page, or the first chunk of a complete list; `listed` is limited by the filters."""

    listed: ListOf
    requested: RequestedRows
    rows: Rows


class ListAnswer(NamedTuple):
    """The headers and the body of a 200."""

    headers: dict[str, str]
    body: bytes | StreamedBody


def read_list(listed: ListOf, query: str) -> FoundList | None:
    """Read the page that a query string asks for; None if the list's parent does not exist.

    Raises MalformedBody (400) and ValidationFailed (422) for a bad query string.
    """
    requested = requested_rows(listed.collection, query)
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
