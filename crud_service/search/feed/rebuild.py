"""Builds a new index beside the old one and swaps them, without downtime.

The indexer writes each batch to every index of this stack, so the new one misses no
change after its creation, and it is filled from texts that are read after that. Versions
resolve double writes. If the new index is not finished, the old one stays in place.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from elasticsearch import ApiError, TransportError

from crud_service.search.feed.bulk import Outcome, write_documents
from crud_service.search.feed.outbox import REBUILD_LOCK, Refused, set_aside
from crud_service.search.feed.start_over import (
    State,
    read_state,
    refuse_others,
    remove_leftovers,
)
from crud_service.search.index.elasticsearch_index import (
    INDEX_FORMAT,
    client,
    create_index,
    find_indices,
    new_index_name,
    remove_index,
    swap_alias,
)
from crud_service.search.text.texts import CREATED_MS, Text
from crud_service.stores.advisory_locks import awaited_lock, lock
from crud_service.stores.database import Connection

logger = logging.getLogger(__name__)

PAGE = 2000
PAGE_BYTES = 2_000_000
ATTEMPTS = 8
# Allows one rebuild at a time. REBUILD_LOCK is also held briefly while an index is
# started over, so a rebuild waits for that one.
ONE_REBUILD_LOCK = REBUILD_LOCK + 1

# The inner query leaves out the texts, which are read only for the rows of the page.
READ_PAGE = f"""
WITH page AS MATERIALIZED (
    SELECT chat_id, number,
           sum(size) OVER (ORDER BY chat_id, number ROWS UNBOUNDED PRECEDING) - size AS before
    FROM (
        SELECT chat_id, number, octet_length(marked) AS size FROM search_texts
        WHERE (chat_id, number) > (%s, %s) ORDER BY chat_id, number LIMIT %s
    ) AS sized
)
SELECT text.chat_id, text.number, text.message_id, text.version, text.marked,
       message.sender, {CREATED_MS},
       (SELECT count(*) FROM page)
FROM page CROSS JOIN LATERAL (
    SELECT * FROM search_texts
    WHERE search_texts.chat_id = page.chat_id AND search_texts.number = page.number OFFSET 0
) AS text
LEFT JOIN LATERAL (
    SELECT sender, created_at FROM messages
    WHERE messages.chat_id = text.chat_id AND messages.number = text.number
      AND messages.id = text.message_id OFFSET 0
) AS message ON true
WHERE before < %s ORDER BY text.chat_id, text.number
"""
BEGIN = "UPDATE search_state SET building = %s"
ABANDON = "UPDATE search_state SET building = '' WHERE building = %s"
# Updates no row if the index missed changes in the meantime (see `outbox.FORGET_INDEX`).
FOLLOW = """
UPDATE search_state
SET index_format = %s, index_name = building, building = '', fill_chat = NULL, fill_number = NULL
WHERE building = %s
"""


class RebuildRunning(Exception):
    """Another rebuild is running."""


class Rejected(Exception):
    """Elasticsearch stayed overloaded, or rejected documents whatever they are."""


class SwapUnknown(Exception):
    """Whether the alias points to the new index is unknown."""


def rebuild(connection: Connection, advance: Callable[[int], object]) -> str:
    """Build an index from `search_texts`, point the alias to it and return its name.

    `advance` gets the number of messages after each step. On any error but SwapUnknown the
    old index stays. The new one is removed; if that fails too, by the indexer.
    """
    with rebuild_lock(connection):
        state = read_state(connection)
        refuse_others(state, find_indices())
        remove_leftovers(state)
        name = new_index_name()
        try:
            create_index(name, state.stack)
            connection.execute(BEGIN, (name,))
            fill_index(connection, name, advance)
            client().indices.refresh(index=name)
            swap(name, state)
        except BaseException:
            abandon(connection, name)
            raise
        if not connection.execute(FOLLOW, (INDEX_FORMAT, name)).rowcount:
            logger.warning("the rebuilt index missed changes and will be filled again")
    return name


@contextmanager
def rebuild_lock(connection: Connection) -> Iterator[None]:
    """Hold both locks; they end at the latest with the connection, even after kill -9.

    Raises RebuildRunning if another rebuild holds its lock.
    """
    with lock(connection, ONE_REBUILD_LOCK) as ours:
        if not ours:
            raise RebuildRunning
        with awaited_lock(connection, REBUILD_LOCK):
            yield


def swap(name: str, state: State) -> None:
    """Point the alias to the new index; raise SwapUnknown if that may or may not have happened."""
    old = [index.name for index in state.own(find_indices()) if index.aliased]
    try:
        swap_alias(name, old)
    except TransportError as error:
        if not has_alias(name):
            raise SwapUnknown(str(error)) from error


def has_alias(name: str) -> bool:
    """Return whether the alias points to an index, False if Elasticsearch does not answer."""
    try:
        return any(index.name == name and index.aliased for index in find_indices())
    except (ApiError, TransportError):
        return False


def abandon(connection: Connection, name: str) -> None:
    """Remove an unfinished index, unless Elasticsearch is unavailable, and its record."""
    if not connection.closed:
        connection.execute(ABANDON, (name,))
    try:
        remove_index(name)
    except (ApiError, TransportError):
        logger.warning("the unfinished index %s is left to the worker", name)


def fill_index(connection: Connection, name: str, advance: Callable[[int], object]) -> None:
    for page in read_pages(connection):
        reasons = write_page(name, page)
        refused = [
            Refused(text.message_id, text.chat_id, text.number, reasons[text.message_id], False)
            for text in page
            if text.message_id in reasons
        ]
        set_aside(connection, refused)
        advance(len(page))


def read_pages(connection: Connection, page_bytes: int = PAGE_BYTES) -> Iterator[list[Text]]:
    """Yield all texts in the order of their keys, without an open transaction between pages.

    Ends with the first page that is not full: the indexer writes later texts to the index
    anyway, and reading on would never end while writes continue.
    """
    position = (0, 0)
    while True:
        rows = connection.execute(READ_PAGE, (*position, PAGE, page_bytes)).fetchall()
        yield [Text(*row[:-1]) for row in rows]
        if not rows or (rows[0][-1] < PAGE and len(rows) == rows[0][-1]):
            return
        position = (rows[-1][0], rows[-1][1])


def write_page(name: str, page: Sequence[Text]) -> dict[int, str]:
    """Write a page, with retries for the documents that Elasticsearch could not take.

    Returns the refused documents: message id → reason. Raises the client's error if Elasticsearch
    stays unavailable, Rejected if it rejects some of them to the end.
    """
    refused: dict[int, str] = {}
    for attempt in range(ATTEMPTS):
        try:
            outcome = write_documents(name, page)
        except (ApiError, TransportError):
            if attempt == ATTEMPTS - 1:
                raise
            outcome = Outcome(retry={text.message_id for text in page})
        refused |= outcome.refused
        page = [text for text in page if text.message_id in outcome.retry]
        if not page:
            return refused
        time.sleep(min(4.0, 0.25 * 2**attempt))
    raise Rejected(f"{len(page)} documents of a page")
