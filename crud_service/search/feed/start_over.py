"""Starts an index when there is none that had every change: a new or wiped Elasticsearch.

`search_state` remembers the index that has followed every change since it was
created, and how far the texts of before are queued for it (`fill_*`). The index is
created and recorded first, then every text is queued, a page at a time while the queue is
short, and only then `index_format` says that it may be searched. Each step may be
repeated, by anybody: the page is taken under a lock on the row of `search_state`.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from elasticsearch import ApiError

from crud_service.search.feed.bulk import IndexGone
from crud_service.search.feed.outbox import FORGET_INDEX
from crud_service.search.index.elasticsearch_index import (
    INDEX_FORMAT,
    Index,
    alias,
    create_index,
    find_indices,
    is_index_name,
    new_index_name,
    remove_index,
    swap_alias,
)

logger = logging.getLogger(__name__)
Connection = psycopg.Connection[tuple[Any, ...]]

# Held by `rebuild_index` for as long as it runs, and while a new index is started.
# It belongs to the connection, so no transaction stays open for it.
REBUILD_LOCK = 0x5EA7C4

FILL_PAGE = 2000
# So many of the pages' rows wait and no more; what applications have waiting does not count.
QUEUE_LENGTH = 4000
SAY_EVERY_SECONDS = 60.0

READ_STATE = """
SELECT stack::text, index_format, index_name, fill_chat IS NOT NULL, owns_unmarked FROM search_state
"""
FOLLOW = """
UPDATE search_state
SET index_format = 0, index_name = %s, building = '', fill_chat = 0, fill_number = 0
"""
LOCK_FILL = "SELECT fill_chat, fill_number FROM search_state WHERE fill_chat IS NOT NULL FOR UPDATE"
# As if they had waited for a minute: searches go to PostgreSQL until a chat's are in.
FILL = """
WITH page AS (
    INSERT INTO search_queue (message_id, chat_id, number, changed_at)
    SELECT message_id, chat_id, number, now() - interval '1 minute' FROM search_texts
    WHERE (chat_id, number) > (%s, %s) ORDER BY chat_id, number LIMIT %s
    RETURNING chat_id, number
)
SELECT chat_id, number, count(*) OVER () FROM page ORDER BY chat_id DESC, number DESC LIMIT 1
"""
FILLED_TO = "UPDATE search_state SET fill_chat = %s, fill_number = %s"
FILLED = "UPDATE search_state SET fill_chat = NULL, fill_number = NULL, index_format = %s"
IS_QUEUE_SHORT = """
SELECT NOT EXISTS (SELECT FROM search_queue WHERE application_id = 0 OFFSET %s)
"""


class AliasTaken(IndexGone):
    """The alias leads to an index that another stack created."""


@dataclass(frozen=True, slots=True)
class State:
    """What is remembered of the index."""

    stack: str
    index_format: int
    index_name: str
    is_filling: bool
    owns_unmarked: bool

    def owns(self, index: Index) -> bool:
        """Whether this stack created an index."""
        if index.stack is None:
            return self.owns_unmarked and is_index_name(index.name)
        return index.stack == self.stack

    def own(self, indices: Sequence[Index]) -> list[Index]:
        return [index for index in indices if self.owns(index)]


def read_state(connection: Connection) -> State:
    (row,) = connection.execute(READ_STATE).fetchall()
    return State(*row)


def is_in_step(state: State, indices: Sequence[Index]) -> bool:
    """Whether the alias leads to one index, ours, that has had every change."""
    aliased = [index for index in indices if index.aliased]
    return (
        len(aliased) == 1
        and state.owns(aliased[0])
        and aliased[0].name == state.index_name
        and aliased[0].index_format == INDEX_FORMAT
        and (state.is_filling or state.index_format == INDEX_FORMAT)
    )


def start_over(connection: Connection) -> None:
    """Replace whatever there is of ours by an empty index, to be filled from the beginning.

    Does nothing while a rebuild makes one. Raises AliasTaken if another stack has the alias.
    """
    with lock(connection, REBUILD_LOCK) as ours:
        if not ours:
            return
        state, indices = read_state(connection), find_indices()
        if is_in_step(state, indices):
            return  # somebody has just done it
        connection.execute(FORGET_INDEX)
        refuse_others(state, indices)
        old = [index.name for index in state.own(indices)]
        name = new_index_name()
        create_index(name, state.stack)
        # From here on its changes count; what is in no page of the filling is in the queue.
        connection.execute(FOLLOW, (name,))
        try:
            swap_alias(name, old)
        except ApiError:
            remove_index(name)
            refuse_others(state, find_indices())
            raise
    logger.warning("a new search index is being filled", extra={"index": name})


def fill_queue(connection: Connection) -> int:
    """Queue the next page of texts for an index that is being filled; tells how many it was."""
    with connection.transaction():
        position = connection.execute(LOCK_FILL).fetchone()
        if position is None or not is_queue_short(connection):
            return 0
        last = connection.execute(FILL, (*position, FILL_PAGE)).fetchone()
        chat_id, number, count = last or (0, 0, 0)
        if count < FILL_PAGE:
            connection.execute(FILLED, (INDEX_FORMAT,))
        else:
            connection.execute(FILLED_TO, (chat_id, number))
    return int(count)


def is_queue_short(connection: Connection) -> bool:
    return bool(connection.execute(IS_QUEUE_SHORT, (QUEUE_LENGTH,)).fetchall()[0][0])


class _Said:
    """When it was last said that the alias is taken."""

    at = -SAY_EVERY_SECONDS


def refuse_others(state: State, indices: Sequence[Index]) -> None:
    """Raise AliasTaken, and say so once a minute, if the alias leads to another stack's index."""
    for index in indices:
        if index.aliased and not state.owns(index):
            if time.monotonic() - _Said.at >= SAY_EVERY_SECONDS:
                _Said.at = time.monotonic()
                logger.error(
                    "SEARCH_INDEX=%s is in use by another stack (%s), whose index %s is left "
                    "alone: give one another SEARCH_INDEX, or remove that index if its stack "
                    "is gone. Until then PostgreSQL answers this stack's searches.",
                    alias(),
                    index.stack or "unknown",
                    index.name,
                )
            raise AliasTaken(index.name)


@contextmanager
def lock(connection: Connection, key: int) -> Iterator[bool]:
    """Hold an advisory lock of the connection if nobody has it; tells whether it is held."""
    ours = bool(connection.execute("SELECT pg_try_advisory_lock(%s)", (key,)).fetchall()[0][0])
    try:
        yield ours
    finally:
        if ours and not connection.closed:
            connection.execute("SELECT pg_advisory_unlock(%s)", (key,))
