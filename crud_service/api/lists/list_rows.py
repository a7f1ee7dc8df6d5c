"""Lists as bytes: a page, or a complete list in chunks, with at most one chunk in memory."""

from collections.abc import Iterator, Mapping
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from contract.paths import MAX_NUMBER
from crud_service.api.lists.page_links import Page, Rows, number_bounds
from crud_service.chat.list_queries import (
    APPLICATIONS,
    APPLICATIONS_BY_KEY,
    CHUNK_ROWS,
    Collection,
    ScanOrder,
    list_query,
    piece_query,
    uncounted,
)
from crud_service.stores.replica import read_one, read_value
from web.problems import NotFound, ValidationFailed


class ListOf(NamedTuple):
    """What to list, and the parameters that name its parent and limit its rows."""

    collection: Collection
    owner: Mapping[str, str]


def fetch_rows(listed: ListOf, page: Page | None, after: str | None = None) -> Rows | None:
    """Fetch a page, or the first chunk of a complete list.

    Args:
        listed: the collection, its parent and its filters.
        page: the page; None for the complete list.
        after: the cursor at which a list without pages begins.

    Returns:
        The rows, None if the parent does not exist. Raises ValidationFailed for a cursor that is
        no application.
    """
    collection, owner = listed
    low, high = _bounds(collection, page, after)
    limit = CHUNK_ROWS if page is None else page.limit
    order = ScanOrder() if page is None else page.order
    row = read_one(
        list_query(collection, order, chunked=page is None),
        {**owner, "low": low, "high": high, "limit": limit},
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


def _bounds(
    collection: Collection, page: Page | None, after: str | None
) -> tuple[str | None, str | None]:
    before = None
    if page is not None:
        after, before = page.after, page.before
    if collection is APPLICATIONS:
        return after, before
    return number_bounds(after, before, collection.lowest)


def remaining_chunks(listed: ListOf, rows: Rows) -> Iterator[bytes]:
    """Yield the complete list, given its first chunk, as parts of one JSON array.

    Each chunk is a separate statement, so a slow client holds neither a
    connection nor a snapshot. Raises NotFound if the parent is deleted meanwhile.
    """
    collection, owner = listed
    by_key = APPLICATIONS_BY_KEY if collection is APPLICATIONS else uncounted(collection)
    yield b"[" + (rows.items or b"")
    while rows.more and rows.last_key is not None:
        following = fetch_rows(ListOf(by_key, owner), None, after=str(rows.last_key))
        if following is None:
            raise NotFound
        rows = following
        if rows.items is None:
            break
        yield b"," + rows.items
    yield b"]"


def page_pieces(listed: ListOf, rows: Rows) -> Iterator[bytes]:
    """Yield a page piece by piece, given its first piece: the rows selected with it, no others.

    Raises NotFound if the parent is deleted meanwhile, or its application gets another token.
    """
    collection, owner = listed
    by_key = APPLICATIONS_BY_KEY if collection is APPLICATIONS else collection
    query = piece_query(by_key)
    bounds = {"low": "1", "high": str(MAX_NUMBER)}
    separator = b"["
    if rows.items is not None:
        yield separator + rows.items
        separator = b","
    for _, numbered in groupby(
        zip(rows.rest or (), rows.pieces or (), strict=True), key=itemgetter(1)
    ):
        wanted = ",".join(str(identity) for identity, _ in numbered)
        piece = read_value(query, {**owner, **bounds, "wanted": f"{{{wanted}}}"})
        if piece is not None:
            yield separator + piece
            separator = b","
        elif owner:  # applications alone disappear one by one, and have no parent
            raise NotFound
    yield b"]" if separator == b"," else b"[]"


def has_rows(listed: ListOf, after: int) -> bool:
    """Whether a list of numbered rows has one after a number."""
    page = Page(1, str(after), None, descending=False)
    rows = fetch_rows(ListOf(uncounted(listed.collection), listed.owner), page)
    return rows is not None and rows.last_key is not None
