"""The rows of lists, as JSON from PostgreSQL, with at most one statement's result in memory.

A page is one statement. If it has much text, that statement returns the first piece of it and the
identities of the other rows, and a statement for each further piece finds those rows, no others.
A complete list comes in chunks, each of which begins behind the last row of the one before it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

from contract.paths import MAX_NUMBER
from crud_service.api.lists.list_request import ListRequest
from crud_service.chat.list_queries import (
    APPLICATIONS,
    APPLICATIONS_BY_KEY,
    CHUNK_ROWS,
    list_query,
    piece_query,
    uncounted,
)
from crud_service.stores.replica import read_one, read_value
from web.problems import NotFound, ValidationFailed


@dataclass(frozen=True)
class Rows:
    """Consecutive rows of a list: a page, or a chunk of a complete list.

    Attributes:
        total: how many rows the whole list has.
        items: the rows as JSON, with commas between them; of a page with much text, only the
            first piece; None if there is no row.
        last_key: the highest key among the rows.
        lowest, highest: the cursors of the rows with the lowest and the highest key.
        has_lower, has_higher: whether the list has rows below and above these.
        rest: the identities of the rows that are not among the items, in order.
        pieces: the number of the piece to which each of those rows belongs.
        last_change: that of the list's chat, if it is a list of messages.
    """

    total: int
    items: bytes | None
    last_key: int | None
    lowest: bytes | None
    highest: bytes | None
    has_lower: bool
    has_higher: bool
    rest: Sequence[int] | None = None
    pieces: Sequence[int] | None = None
    last_change: int | None = None

    def as_array(self) -> bytes:
        return b"[%s]" % (self.items or b"")


def fetch_rows(request: ListRequest) -> Rows | None:
    """Fetch a page, or the first chunk of a complete list; None if the parent does not exist.

    Raises ValidationFailed for a cursor that is no application.
    """
    is_complete = request.limit is None
    low, high = request.bounds
    row = read_one(
        list_query(request.collection, request.scan_order, chunked=is_complete),
        {
            **request.parent,
            **request.options,
            "low": low,
            "high": high,
            "limit": CHUNK_ROWS if is_complete else request.limit,
        },
    )
    if row is None:
        return None
    found_low, found_high, *columns = row
    if found_low is None or found_high is None:
        raise ValidationFailed(
            "after" if found_low is None else "before",
            "Must be the access token of an application.",
        )
    return Rows(*columns)


def complete_list(request: ListRequest, rows: Rows) -> Iterator[bytes]:
    """Yield a complete list, given its first chunk, as parts of one JSON array.

    Each chunk is a separate statement, so a slow client holds neither a
    connection nor a snapshot. Raises NotFound if the parent is deleted meanwhile.
    """
    collection = request.collection
    by_key = APPLICATIONS_BY_KEY if collection is APPLICATIONS else uncounted(collection)
    yield b"[" + (rows.items or b"")
    while rows.has_higher and rows.last_key is not None:
        following = fetch_rows(request._replace(collection=by_key, after=str(rows.last_key)))
        if following is None:
            raise NotFound
        rows = following
        if rows.items is None:
            break
        yield b"," + rows.items
    yield b"]"


def page_in_pieces(request: ListRequest, rows: Rows) -> Iterator[bytes]:
    """Yield a page, given its first piece, as parts of one JSON array.

    Raises NotFound if the parent is deleted meanwhile, or its application gets another token.
    """
    collection = request.collection
    by_key = APPLICATIONS_BY_KEY if collection is APPLICATIONS else collection
    query = piece_query(by_key)
    parameters = {**request.parent, **request.options, "low": "1", "high": str(MAX_NUMBER)}
    separator = b"["
    if rows.items is not None:
        yield separator + rows.items
        separator = b","
    for _, numbered in groupby(
        zip(rows.rest or (), rows.pieces or (), strict=True), key=itemgetter(1)
    ):
        wanted = ",".join(str(identity) for identity, _ in numbered)
        piece = read_value(query, {**parameters, "wanted": f"{{{wanted}}}"})
        if piece is not None:
            yield separator + piece
            separator = b","
        elif request.parent:  # applications alone disappear one by one, and have no parent
            raise NotFound
    yield b"]" if separator == b"," else b"[]"


def has_rows(request: ListRequest, after: int) -> bool:
    """Whether a list of numbered rows has one after a number."""
    collection = uncounted(request.collection)
    rows = fetch_rows(request._replace(collection=collection, limit=1, after=str(after)))
    return rows is not None and rows.last_key is not None
