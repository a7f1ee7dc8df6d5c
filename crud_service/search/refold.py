"""Folds the stored texts again after an upgrade changed the folding (`TEXT_FORMAT`).

The indexer does it a piece at a time while nothing fresh waits. A piece is one
transaction that also moves the cursor in `search_refold`, so a kill loses at
most the piece that was under way, and two indexers do not do the same work.
Only texts that fold to something else are written, and only those are queued
for Elasticsearch. Searches go on; until the walk is through, a text that it has
not reached is found by the old rules.
"""

import logging
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import psycopg

from crud_service.search.blocks import INSERT_BLOCKS, block_of, gram_keys
from crud_service.search.folding import RUN_SEPARATOR, TEXT_FORMAT, mark
from crud_service.search.grams import all_grams
from crud_service.search.outbox import FORGET_INDEX
from crud_service.search.texts import columns

logger = logging.getLogger(__name__)
Connection = psycopg.Connection[tuple[Any, ...]]

PIECE_ROWS = 200
PIECE_BYTES = 256_000
# With this many documents waiting for Elasticsearch, no more are added.
MAX_QUEUED = 1000
# A block of more text than this keeps the rows that it has.
MAX_BLOCK_BYTES = 200_000
LOG_EVERY_SECONDS = 10.0

IS_BUSY = """
SELECT EXISTS (SELECT FROM search_outbox)
    OR %s AND EXISTS (SELECT FROM search_queue OFFSET %s)
"""
LOCK_WALK = """
SELECT format, chat_id, number FROM search_refold WHERE done_format <> %s
FOR UPDATE SKIP LOCKED
"""
MOVE_WALK = "UPDATE search_refold SET format = %s, chat_id = %s, number = %s"
END_WALK = "UPDATE search_refold SET done_format = %s"

# At most so many rows, and the bodies in front of the last one are within the bound.
READ_PIECE = """
WITH rows AS MATERIALIZED (
    SELECT chat_id, number, message_id FROM search_texts
    WHERE (chat_id, number) > (%s, %s) ORDER BY chat_id, number LIMIT %s
), piece AS (
    SELECT rows.*, messages.version, messages.body, sum(coalesce(octet_length(messages.body), 0))
        OVER (ORDER BY rows.chat_id, rows.number ROWS UNBOUNDED PRECEDING
              EXCLUDE CURRENT ROW) AS bytes_before
    FROM rows LEFT JOIN messages ON messages.id = rows.message_id
)
SELECT chat_id, number, message_id, version, body FROM piece
WHERE coalesce(bytes_before, 0) < %s ORDER BY chat_id, number
"""

# The writers of a chat's texts and blocks take turns by this lock.
INSERT_CHATS = """
INSERT INTO search_chats (chat_id, blocks)
SELECT chat_id, 0 FROM unnest(%s::bigint[]) AS chat_id ORDER BY chat_id
ON CONFLICT DO NOTHING
"""
LOCK_CHATS = """
SELECT chat_id, blocks FROM search_chats WHERE chat_id = ANY (%s) ORDER BY chat_id
FOR NO KEY UPDATE
"""
UPDATE_TEXTS = """
UPDATE search_texts AS text SET marked = new.marked, version = new.version
FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::int[], %s::text[])
    AS new (chat_id, number, message_id, version, marked)
WHERE text.chat_id = new.chat_id AND text.number = new.number
  AND text.message_id = new.message_id AND text.version <= new.version
  AND text.marked <> new.marked
RETURNING text.message_id, text.chat_id, text.number, text.marked
"""
HAND_ON = """
INSERT INTO search_queue (message_id, chat_id, number, changed_at)
SELECT message_id, chat_id, number, now()
FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[]) AS changed (message_id, chat_id, number)
"""
FIND_SCATTERED_BLOCKS = """
SELECT passed.chat_id, passed.block, (
    SELECT string_agg(text.marked, E'\\n') FROM search_texts AS text
    WHERE text.chat_id = passed.chat_id
      AND text.number BETWEEN passed.block * 64 + 1 AND passed.block * 64 + 64
    HAVING sum(octet_length(text.marked)) <= %s
)
FROM unnest(%s::bigint[], %s::bigint[]) AS passed (chat_id, block)
WHERE 1 < (
    SELECT count(*) FROM search_blocks AS covered
    WHERE covered.chat_id = passed.chat_id AND covered.block = passed.block
)
"""
DELETE_BLOCKS = """
DELETE FROM search_blocks AS covered
USING unnest(%s::bigint[], %s::bigint[]) AS old (chat_id, block)
WHERE covered.chat_id = old.chat_id AND covered.block = old.block
"""


class Position(NamedTuple):
    """A place in `search_texts`."""

    chat_id: int
    number: int

    @property
    def block(self) -> tuple[int, int]:
        return self.chat_id, block_of(self.number)


class Stored(NamedTuple):
    """A stored text's message as it is now; without a body if it is gone."""

    chat_id: int
    number: int
    message_id: int
    version: int | None
    body: str | None


class Changed(NamedTuple):
    """A text that folds to something else now."""

    message_id: int
    chat_id: int
    number: int
    marked: str


def refold_some(connection: Connection, *, hand_on: bool) -> int:
    """Fold one piece of the stored texts again; tells how many texts were looked at.

    0 when all are done, when changes wait, or when another indexer is at it.
    With `hand_on` Elasticsearch follows, and is waited for when it lags.
    """
    busy = connection.execute(IS_BUSY, (hand_on, MAX_QUEUED)).fetchall()[0][0]
    if busy:
        return 0
    with connection.transaction():
        walk = connection.execute(LOCK_WALK, (TEXT_FORMAT,)).fetchone()
        if walk is None:
            return 0
        start = Position(*walk[1:]) if walk[0] == TEXT_FORMAT else Position(0, 0)
        parameters = (*start, PIECE_ROWS, PIECE_BYTES)
        rows = [Stored(*row) for row in connection.execute(READ_PIECE, parameters)]
        if not rows:
            connection.execute(END_WALK, (TEXT_FORMAT,))
        else:
            end = Position(rows[-1].chat_id, rows[-1].number)
            write_piece(connection, rows, hand_on=hand_on)
            join_blocks(connection, {start.block, *(Position(*row[:2]).block for row in rows)})
            connection.execute(MOVE_WALK, (TEXT_FORMAT, *end))
    progress.log(len(rows), is_done=not rows)
    return len(rows)


def write_piece(connection: Connection, rows: Sequence[Stored], *, hand_on: bool) -> None:
    """Write the texts of a piece that changed, their grams and their places in the queue."""
    texts = [(*row[:4], mark(row.body)) for row in rows if row.body is not None]
    chats = sorted({row.chat_id for row in rows})
    connection.execute(INSERT_CHATS, (chats,))
    covered: dict[int, int] = dict(connection.execute(LOCK_CHATS, (chats,)).fetchall())
    found = connection.execute(UPDATE_TEXTS, columns(texts, 5)).fetchall()
    changed = [Changed(*row) for row in found]
    if not changed:
        return
    late = [row for row in changed if block_of(row.number) < covered[row.chat_id]]
    insert_grams(connection, [(r.chat_id, block_of(r.number), r.marked) for r in late])
    if hand_on:
        connection.execute(HAND_ON, columns([row[:3] for row in changed], 3))
    else:
        connection.execute(FORGET_INDEX)


def insert_grams(connection: Connection, texts: Sequence[tuple[int, int, str]]) -> None:
    """Add the grams of texts to blocks; each is a chat, a block and a marked text."""
    rows = [
        (chat_id, block, RUN_SEPARATOR.join(gram_keys(chat_id, all_grams(marked))))
        for chat_id, block, marked in texts
    ]
    if rows:
        connection.execute(INSERT_BLOCKS, columns(rows, 3))


def join_blocks(connection: Connection, passed: set[tuple[int, int]]) -> None:
    """Make one row again of blocks that have several by now."""
    chats, blocks = columns(sorted(passed), 2)
    parameters = (MAX_BLOCK_BYTES, chats, blocks)
    scattered = connection.execute(FIND_SCATTERED_BLOCKS, parameters).fetchall()
    joined = [row for row in scattered if row[2] is not None]
    if joined:
        connection.execute(DELETE_BLOCKS, columns([row[:2] for row in joined], 2))
        insert_grams(connection, joined)


class Progress:
    """Says in the log how far the walk is: at its start, at its end and now and then between."""

    def __init__(self) -> None:
        self._texts = 0
        self._logged_at: float | None = None

    def log(self, texts: int, *, is_done: bool) -> None:
        self._texts += texts
        now = time.monotonic()
        if is_done:
            self._say("all texts are folded by the rules of this version")
            self._texts, self._logged_at = 0, None
        elif self._logged_at is None or now - self._logged_at >= LOG_EVERY_SECONDS:
            self._say("folding texts again")
            self._logged_at = now

    def _say(self, what: str) -> None:
        logger.info(what, extra={"entries": self._texts, "text_format": TEXT_FORMAT})


progress = Progress()

_IS_OUTDATED = f"""
walk.done_format <> {TEXT_FORMAT} AND (text.chat_id, text.number) > (
    CASE WHEN walk.format = {TEXT_FORMAT} THEN walk.chat_id ELSE 0 END,
    CASE WHEN walk.format = {TEXT_FORMAT} THEN walk.number ELSE 0 END
)
"""
# How many texts are still to be looked at, counted up to a bound.
COUNT_OUTDATED = f"""
(SELECT count(*) FROM search_refold AS walk CROSS JOIN LATERAL (
    SELECT FROM search_texts AS text WHERE {_IS_OUTDATED}
    ORDER BY text.chat_id, text.number LIMIT %d
) AS outdated)
"""
# Which of some messages have a text that is still to be looked at.
FIND_OUTDATED = f"""
SELECT messages.id FROM search_refold AS walk, messages JOIN search_texts AS text
  ON text.chat_id = messages.chat_id AND text.number = messages.number
WHERE messages.id = ANY (%(ids)s) AND {_IS_OUTDATED}
"""
