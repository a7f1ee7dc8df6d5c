"""Starts a new index if none has received every change: Elasticsearch is new or was wiped.

`search_state` records the index that has received every change since it was created,
and how far the older texts are queued for it (`fill_*`). The index is created and recorded
first. Then every text is queued, a page at a time while the queue is short. Only then
does `index_format` allow searches. Any process may repeat any step: a page is taken
under a lock on the row of `search_state`.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from elasticsearch import ApiError

from crud_service.interval import Interval
from crud_service.search.feed.bulk import IndexGone
from crud_service.search.feed.outbox import FORGET_INDEX, REBUILD_LOCK
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
from crud_service.stores.advisory_locks import lock
from crud_service.stores.database import Connection

logger = logging.getLogger(__name__)

FILL_PAGE = 2000
# No page is added while more rows of earlier ones wait. Rows of applications do not count.
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
# The rows look as if they had waited for a minute, so that PostgreSQL answers the searches of
# a chat until its texts are indexed.
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
    """The alias points to an index that another stack created."""


@dataclass(frozen=True, slots=True)
class State:
    """The row of `search_state`: what is recorded about the index."""

    stack: str
    index_format: int
    index_name: str
    is_filling: bool
    owns_unmarked: bool

    def owns(self, index: Index) -> bool:
        if index.stack is None:
            return self.owns_unmarked and is_index_name(index.name)
        return index.stack == self.stack

    def own(self, indices: Sequence[Index]) -> list[Index]:
        return [index for index in indices if self.owns(index)]


def read_state(connection: Connection) -> State:
    """Return the one row of `search_state`."""
    (row,) = connection.execute(READ_STATE).fetchall()
    return State(*row)


def is_in_step(state: State, indices: Sequence[Index]) -> bool:
    """Return whether the alias points to exactly one index, ours, that got every change."""
    aliased = [index for index in indices if index.aliased]
    return (
        len(aliased) == 1
        and state.owns(aliased[0])
        and aliased[0].name == state.index_name
        and aliased[0].index_format == INDEX_FORMAT
        and (state.is_filling or state.index_format == INDEX_FORMAT)
    )


def start_over(connection: Connection) -> None:
    """Replace this stack's indexes by an empty one, to be filled from the beginning.

    Does nothing while a rebuild is running. Raises AliasTaken if another stack has the alias.
    """
    with lock(connection, REBUILD_LOCK) as ours:
        if not ours:
            return
        state, indices = read_state(connection), find_indices()
        if is_in_step(state, indices):
            return  # another process has just done it
        connection.execute(FORGET_INDEX)
        refuse_others(state, indices)
        # Else each attempt whose answer is lost would add another one.
        remove_leftovers(state)
        old = [index.name for index in state.own(indices) if index.aliased]
        name = new_index_name()
        create_index(name, state.stack)
        # From here on the index follows changes: a text that no page contains is in the queue.
        connection.execute(FOLLOW, (name,))
        try:
            swap_alias(name, old)
        except ApiError:
            remove_index(name)
            refuse_others(state, find_indices())
            raise
    logger.warning("a new search index is being filled", extra={"index": name})


def remove_abandoned(connection: Connection) -> None:
    """Remove what a killed rebuild left behind; do nothing while one is running."""
    with lock(connection, REBUILD_LOCK) as ours:
        if ours:
            remove_leftovers(read_state(connection))


def remove_leftovers(state: State) -> None:
    """Remove this stack's indexes without an alias, under REBUILD_LOCK: nobody builds them."""
    for index in state.own(find_indices()):
        if not index.aliased:
            remove_index(index.name)


def fill_queue(connection: Connection) -> int:
    """Queue the next page of texts for an index that is being filled; return their number."""
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


@cache
def complaints(alias: str) -> Interval:
    return Interval(SAY_EVERY_SECONDS)


def refuse_others(state: State, indices: Sequence[Index]) -> None:
    """Raise AliasTaken if the alias points to another stack's index; log it once a minute."""
    for index in indices:
        if index.aliased and not state.owns(index):
            if complaints(alias()).has_passed():
                logger.error(
                    "SEARCH_INDEX=%s is in use by another stack (%s), so its index %s is not "
                    "touched: change SEARCH_INDEX of one stack, or remove the index if the other "
                    "stack no longer exists. Until then PostgreSQL answers searches.",
                    alias(),
                    index.stack or "unknown",
                    index.name,
                )
            raise AliasTaken(index.name)
