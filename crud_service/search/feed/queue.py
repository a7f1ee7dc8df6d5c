"""The step from `search_texts` to Elasticsearch: one bounded batch of the queue at a time.

No transaction is open while Elasticsearch works. This keeps it correct with any number of
concurrent processes, wherever each of them is stopped:

1. The texts are read in the same statement as the rows of the queue, so they are at least
   as new as those rows. A text that changes again has a row of its own, which stays.
2. The existing indexes are listed *after* that. An index that is created later is filled
   from texts (`rebuild`, `start_over`) that are read later still, so it misses nothing.
3. Documents have external versions: an older copy never replaces a newer one, and a late
   copy of a deleted message is refused for as long as Elasticsearch remembers the
   deletion (`GC_DELETES`). So sending a document late or twice is harmless.
4. Only then does one short transaction delete the rows that were read, by their ids. If it
   does not happen, the batch is sent again.
5. Documents of changes that have waited for long are made searchable before their rows are
   deleted. While the rows wait, PostgreSQL answers the searches of their chat (see
   `messages`); without a refresh those messages would then vanish until the next one.
6. Small batches, as people typing produce them, are made searchable a few times a second too.
7. A document that fails is put back, with the time of its change and a time before which it
   is not retried. If other documents succeed, it is given up after MAX_ATTEMPTS, unless
   Elasticsearch was overloaded. If all fail, the documents are not the cause; if there are more
   than FEW, nothing is moved and Throttled is raised.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from crud_service.interval import Interval
from crud_service.search.feed.bulk import Outcome, write_documents
from crud_service.search.feed.fair import Turn, pick
from crud_service.search.feed.outbox import Refused, set_aside
from crud_service.search.feed.start_over import (
    fill_queue,
    is_in_step,
    read_state,
    remove_abandoned,
    start_over,
)
from crud_service.search.index.elasticsearch_index import find_indices
from crud_service.search.text.texts import CREATED_MS, Text, columns
from crud_service.stores.database import Connection

logger = logging.getLogger(__name__)

# Large, since each batch that waited for long is a segment of its own at first (5. above), and
# merging small segments costs Elasticsearch more than anything else does.
BATCH = 5000
# Bytes of marked texts in a batch, its last text aside; a document is about four times as large.
BATCH_BYTES = 2_000_000
MAX_ATTEMPTS = 20
# After this many, the pause is at its longest.
SLOWEST = 4
# If a whole batch of at most this many fails, it is put back too, so that it delays only itself.
FEW = 50
MAX_PAUSE_SECONDS = 4.0
# A batch of at most this much text is made searchable at once, but no more often than this. The
# index's own refresh runs less often (`elasticsearch_index`), and then finds nothing to do.
LITTLE_TEXT = 50_000  # characters
REFRESH_SECONDS = 0.3

DUE = "(not_before IS NULL OR not_before <= now())"
READ = (
    pick(
        "search_queue",
        size="(SELECT octet_length(marked) FROM search_texts AS text WHERE text.chat_id ="
        " waiting.chat_id AND text.number = waiting.number)",
        due=DUE,
        more=", max(attempts) AS attempts",
    )
    + f"""
SELECT picked.ids, picked.message_id, picked.chat_id, picked.number, picked.application_id,
       picked.changed_at, picked.attempts, picked.changed_at < now() - interval '1 second',
       text.version, text.marked, message.id IS NOT NULL, message.sender,
       {CREATED_MS}
FROM picked LEFT JOIN LATERAL (
    SELECT id, sender, created_at FROM messages
    WHERE messages.chat_id = picked.chat_id AND messages.number = picked.number
      AND messages.id = picked.message_id AND messages.deleted_at IS NULL OFFSET 0
) AS message ON true
LEFT JOIN LATERAL (
    SELECT version, marked FROM search_texts
    WHERE search_texts.chat_id = picked.chat_id AND search_texts.number = picked.number
      AND search_texts.message_id = picked.message_id OFFSET 0
) AS text ON true
"""
)
# Rows are locked in the order of their ids, so that two processes that sent the same rows cannot
# deadlock. Rows that another process is deleting at this moment are done.
FINISH = """
DELETE FROM search_queue WHERE chat_id = ANY (%b::bigint[]) AND id = ANY (ARRAY(
    SELECT id FROM search_queue WHERE chat_id = ANY (%b::bigint[]) AND id = ANY (%b::bigint[])
    ORDER BY id FOR UPDATE SKIP LOCKED
))
"""
# A failure is over once a later change of its message is indexed; an earlier one proves nothing.
SETTLE = f"""
WITH done AS ({FINISH} RETURNING message_id, changed_at)
DELETE FROM search_failures USING done
WHERE search_failures.message_id = done.message_id AND failed_at < done.changed_at
"""
PUT_BACK = f"""
WITH back AS (
    SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::timestamptz[],
                         %s::smallint[], %s::float8[])
    AS back (application_id, message_id, chat_id, number, changed_at, attempts, pause)
), done AS ({FINISH} RETURNING message_id)
INSERT INTO search_queue
    (application_id, message_id, chat_id, number, changed_at, attempts, not_before)
SELECT application_id, message_id, chat_id, number, changed_at, attempts,
       now() + pause * interval '1 second'
FROM back WHERE message_id IN (SELECT message_id FROM done)
"""
IS_EMPTY = f"""
SELECT NOT EXISTS (SELECT FROM search_queue WHERE {DUE})
   AND NOT EXISTS (SELECT FROM search_state WHERE fill_chat IS NOT NULL)
"""

turn = Turn("search_queue")


refreshes = Interval(REFRESH_SECONDS)


class Throttled(Exception):
    """Elasticsearch accepted nothing of a batch, which is still in the queue."""


class Queued(NamedTuple):
    """A message that waits for Elasticsearch, with its text if it has one."""

    ids: list[int]
    message_id: int
    chat_id: int
    number: int
    application_id: int
    changed_at: object
    attempts: int
    is_late: bool
    version: int | None
    marked: str | None
    exists: bool
    sender: str | None
    created_ms: int | None


Write = Callable[[Sequence[str], Sequence[Queued], Interval], Outcome]


def index_queued(
    connection: Connection,
    limit: int = BATCH,
    refreshes: Interval = refreshes,
    write: Write | None = None,
) -> int:
    """Send one batch to Elasticsearch, and queue the next page of an index being filled.

    Args:
        connection: a connection in autocommit mode.
        limit: how many changes a batch has at most.
        refreshes: when a small batch is made searchable at once.
        write: writes a batch to the indexes of the given names; None: `write_batch`.

    Returns:
        The number of changes that no longer wait and of texts queued: 0 if there were none, or
        none was taken. Raises Throttled, IndexGone, or the client's error if Elasticsearch is
        unavailable.
    """
    queued = [Queued(*row) for row in turn.read(connection, READ, limit, BATCH_BYTES)]
    targets = find_targets(connection)
    sent = 0
    if queued:
        sent = settle(connection, queued, (write or write_batch)(targets, queued, refreshes))
    return sent + fill_queue(connection)


def is_queue_empty(connection: Connection) -> bool:
    """Return whether nothing is to be sent now; entries that wait for a retry do not count."""
    return bool(connection.execute(IS_EMPTY).fetchall()[0][0])


def find_targets(connection: Connection) -> list[str]:
    """Return this stack's indexes, to write to all: the alias's, and one being built.

    Starts a new one if none has received every change, and removes what a killed rebuild left
    behind: each batch would be written there, too.
    """
    state, indices = read_state(connection), find_indices()
    if not is_in_step(state, indices):
        start_over(connection)
        indices = find_indices()
    elif not all(index.aliased for index in state.own(indices)):
        remove_abandoned(connection)
        indices = find_indices()
    return [index.name for index in state.own(indices)]


def write_batch(targets: Sequence[str], queued: Sequence[Queued], refreshes: Interval) -> Outcome:
    """Write a batch to every target.

    An existing message without a text is about to be folded again, and will then be queued.
    """
    gone = [entry.message_id for entry in queued if not entry.exists]
    texts = [
        Text(
            entry.chat_id,
            entry.number,
            entry.message_id,
            entry.version,
            entry.marked,
            entry.sender,
            entry.created_ms,
        )
        for entry in queued
        if entry.exists and entry.version is not None and entry.marked is not None
    ]
    is_little = sum(len(text.marked) for text in texts) <= LITTLE_TEXT
    is_late = any(entry.is_late for entry in queued)
    refresh = is_late or (is_little and refreshes.has_passed())
    outcome = Outcome()
    for index in targets:
        outcome.add(write_documents(index, texts, gone, refresh=refresh))
    return outcome


def settle(connection: Connection, queued: Sequence[Queued], outcome: Outcome) -> int:
    """Delete the entries that are done, put back those to retry, set aside the refused ones.

    Returns the number of changes that no longer wait. Raises Throttled, and changes nothing, if
    all entries failed and there are more than FEW.
    """
    failed = [entry for entry in queued if entry.message_id in outcome.retry]
    if len(failed) == len(queued) > FEW:
        raise Throttled(f"{len(failed)} documents, {outcome.retry_reason}")
    counted = len(failed) < len(queued)
    again = []
    for entry in failed:
        blamed = counted and entry.message_id not in outcome.overloaded
        if blamed and entry.attempts + 1 >= MAX_ATTEMPTS:
            outcome.refused[entry.message_id] = f"given up after {MAX_ATTEMPTS} attempts"
        else:
            again.append(entry)
    kept = {entry.message_id for entry in again}
    done = [entry for entry in queued if entry.message_id not in kept]
    # In a transaction of its own, or else it would lock messages while it holds their failures.
    set_aside(connection, find_refused(done, outcome.refused))
    with connection.transaction():
        connection.execute(SETTLE, finished(done))
        if again:
            put_back(connection, again, outcome.overloaded, counted=counted)
    if again:
        extra = {"entries": len(again), "reason": outcome.retry_reason}
        logger.warning("documents wait for Elasticsearch", extra=extra)
    return sum(len(entry.ids) for entry in done)


def find_refused(entries: Sequence[Queued], reasons: Mapping[int, str]) -> list[Refused]:
    """Return the entries whose message ids have a reason."""
    return [
        Refused(
            entry.message_id,
            entry.chat_id,
            entry.number,
            reasons[entry.message_id],
            is_deletion=not entry.exists,
        )
        for entry in entries
        if entry.message_id in reasons
    ]


def put_back(
    connection: Connection, entries: Sequence[Queued], overloaded: set[int], *, counted: bool
) -> None:
    """Queue entries again with a back-off; each keeps the time of its change.

    Args:
        connection: a connection in a transaction.
        entries: what failed.
        overloaded: messages that failed for want of room, whose attempts count for the back-off.
        counted: whether this was an attempt.
    """
    rows = []
    for entry in entries:
        attempts = entry.attempts + counted
        if entry.message_id in overloaded:
            attempts = max(entry.attempts, min(attempts, SLOWEST))
        pause = min(MAX_PAUSE_SECONDS, 0.25 * 2 ** min(attempts, 10))
        key = (entry.application_id, entry.message_id, entry.chat_id, entry.number)
        rows.append((*key, entry.changed_at, attempts, pause))
    connection.execute(PUT_BACK, (*columns(rows, 7), *finished(entries)))


def finished(entries: Sequence[Queued]) -> tuple[list[int], list[int], list[int]]:
    """Return the parameters of FINISH."""
    chats = list({entry.chat_id for entry in entries})
    return chats, chats, [id for entry in entries for id in entry.ids]
