"""The step from `search_texts` to Elasticsearch: a batch of the queue in a transaction.

The transaction is open while Elasticsearch works: when that fails, or this
process dies, the entries are still in the queue.
"""

import logging
from collections.abc import Sequence
from typing import Any

import psycopg

from crud_service.search.bulk import Outcome, write_documents
from crud_service.search.elasticsearch_index import aliased_indices, all_indices
from crud_service.search.start_over import (
    REBUILD_LOCK,
    SHARE_REBUILD_LOCK,
    is_in_step,
    start_over,
)
from crud_service.search.texts import Text, columns

logger = logging.getLogger(__name__)
Connection = psycopg.Connection[tuple[Any, ...]]

BATCH = 2000
MAX_ATTEMPTS = 20

CLAIM = """
WITH claimed AS (
    DELETE FROM search_queue
    WHERE id = ANY (ARRAY(  -- made once, see `outbox`
        SELECT id FROM search_queue ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED
    ))
    RETURNING message_id, chat_id, number, changed_at, attempts
), changes AS (
    SELECT message_id, chat_id, number, min(changed_at) AS changed_at, max(attempts) AS attempts
    FROM claimed GROUP BY message_id, chat_id, number
)
SELECT changes.*, text.version, text.marked
FROM changes LEFT JOIN search_texts AS text
  ON text.chat_id = changes.chat_id AND text.number = changes.number
 AND text.message_id = changes.message_id
"""
PUT_BACK = """
INSERT INTO search_queue (message_id, chat_id, number, changed_at, attempts)
SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::timestamptz[], %s::smallint[])
"""
SET_ASIDE = """
INSERT INTO search_failures (message_id, reason) VALUES (%s, %s)
ON CONFLICT (message_id) DO UPDATE SET reason = excluded.reason, failed_at = now()
"""

Queued = tuple[int, int, int, object, int, int | None, str | None]


class Throttled(Exception):
    """Elasticsearch took a part of a batch only; the rest is in the queue again."""


def index_queued(connection: Connection, limit: int = BATCH) -> int:
    """Send one batch to Elasticsearch; tells how many documents it was.

    Raises Throttled, or what the client raises when Elasticsearch is away.
    """
    if not is_in_step(connection):
        start_over(connection)
    with connection.transaction():
        targets = find_targets(connection)
        queued: list[Queued] = connection.execute(CLAIM, (limit,)).fetchall()
        outcome = write_batch(targets, queued)
        throttled = settle(connection, queued, outcome)
    if throttled:
        raise Throttled(f"{len(outcome.retry)} of {len(queued)} documents")
    return len(queued)


def is_queue_empty(connection: Connection) -> bool:
    """Whether Elasticsearch has been sent everything."""
    return not connection.execute("SELECT EXISTS (SELECT FROM search_queue)").fetchall()[0][0]


def find_targets(connection: Connection) -> list[str]:
    """The indices to write to: the alias's own, and one that is being built."""
    shared = connection.execute(SHARE_REBUILD_LOCK, (REBUILD_LOCK,)).fetchall()[0][0]
    return aliased_indices() if shared else all_indices()


def write_batch(targets: Sequence[str], queued: Sequence[Queued]) -> Outcome:
    """Write what was claimed to every target."""
    texts, gone = [], []
    for message_id, chat_id, number, _changed_at, _attempts, version, marked in queued:
        if version is None or marked is None:
            gone.append(message_id)
        else:
            texts.append(Text(chat_id, number, message_id, version, marked))
    outcome = Outcome()
    for index in targets:
        outcome.add(write_documents(index, texts, gone))
    return outcome


def settle(connection: Connection, queued: Sequence[Queued], outcome: Outcome) -> bool:
    """Put back what is worth another try, set aside what is not; whether any was put back.

    A document that fails while others pass is given up in the end; when all
    fail it is not for what they are.
    """
    alone = len(outcome.retry) < len(queued)
    again: list[tuple[object, ...]] = []
    for row in queued:
        if row[0] in outcome.retry and alone and row[4] >= MAX_ATTEMPTS:
            outcome.refused[row[0]] = f"given up after {MAX_ATTEMPTS} attempts"
        elif row[0] in outcome.retry:
            again.append((*row[:4], min(row[4] + 1, MAX_ATTEMPTS)))
    if again:
        connection.execute(PUT_BACK, columns(again, 5))
    for message_id, reason in outcome.refused.items():
        logger.error("Elasticsearch refused message %s: %s", message_id, reason)
        connection.execute(SET_ASIDE, (message_id, reason))
    return bool(again)
