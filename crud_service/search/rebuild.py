"""Builds a new index beside the old one, and swaps them, while everything runs.

Under the rebuild lock each batch of the indexer goes to every index there is,
so the new one misses no change; versions sort out what is written twice.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from elasticsearch import ApiError, TransportError

from crud_service.search.bulk import write_documents
from crud_service.search.elasticsearch_index import (
    aliased_indices,
    all_indices,
    client,
    create_index,
    new_index_name,
    remove_index,
    swap_alias,
)
from crud_service.search.start_over import INDEX_FORMAT, REBUILD_LOCK, set_format
from crud_service.search.texts import Text

Connection = psycopg.Connection[tuple[Any, ...]]

PAGE = 2000
ATTEMPTS = 8
# One rebuild at a time; the other lock is shared by batches and may be waited for.
ONE_REBUILD_LOCK = REBUILD_LOCK + 1

READ_PAGE = """
SELECT chat_id, number, message_id, version, marked FROM search_texts
WHERE (chat_id, number) > (%s, %s) ORDER BY chat_id, number LIMIT %s
"""


class RebuildRunning(Exception):
    """Another rebuild is under way."""


def rebuild(connection: Connection, advance: Callable[[int], object]) -> str:
    """Build an index from `search_texts` and let the alias lead to it; gives its name.

    `advance` is told how many messages each step took. Whatever ends this
    early, the new index goes and the old one stays.
    """
    with rebuild_lock(connection):
        remove_leftovers()
        name = new_index_name()
        try:
            create_index(name, aliased=False)
            fill_index(connection, name, advance)
            client().indices.refresh(index=name)
            swap_alias(name, aliased_indices())
        except BaseException:
            remove_index(name)
            raise
        set_format(connection, INDEX_FORMAT)
    return name


@contextmanager
def rebuild_lock(connection: Connection) -> Iterator[None]:
    """Hold both locks; they end with the connection at the latest, even by kill -9."""
    if not connection.execute("SELECT pg_try_advisory_lock(%s)", (ONE_REBUILD_LOCK,)).fetchall()[0][
        0
    ]:
        raise RebuildRunning
    connection.execute("SELECT pg_advisory_lock(%s)", (REBUILD_LOCK,))
    try:
        yield
    finally:
        connection.execute("SELECT pg_advisory_unlock_all()")


def remove_leftovers() -> None:
    """Remove indices that no alias leads to: a rebuild that was killed left them."""
    aliased = aliased_indices()
    for index in all_indices():
        if index not in aliased:
            remove_index(index)


def fill_index(connection: Connection, name: str, advance: Callable[[int], object]) -> None:
    """Write every text to an index, page by page."""
    for page in read_pages(connection):
        write_page(name, page)
        advance(len(page))


def read_pages(connection: Connection) -> Iterator[list[Text]]:
    """All texts in the order of their keys; no page holds a transaction open.

    Ends with the first page that is not full: what is written after that gets
    to the index by itself, and reading on would never end while writes go on.
    """
    position = (0, 0)
    while True:
        rows = connection.execute(READ_PAGE, (*position, PAGE)).fetchall()
        yield [Text(*row) for row in rows]
        if len(rows) < PAGE:
            return
        position = (rows[-1][0], rows[-1][1])


def write_page(name: str, page: Sequence[Text]) -> None:
    """Write a page, some documents or all of them again when Elasticsearch has its hands full."""
    for attempt in range(ATTEMPTS):
        try:
            outcome = write_documents(name, page)
        except (ApiError, TransportError):
            if attempt == ATTEMPTS - 1:
                raise
        else:
            page = [text for text in page if text.message_id in outcome.retry]
            if not page:
                return
        time.sleep(min(4.0, 0.25 * 2**attempt))
    raise RuntimeError(f"Elasticsearch did not take {len(page)} documents of a page")
