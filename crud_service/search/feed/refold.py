"""Folds the stored texts again after an upgrade changed the folding (`TEXT_FORMAT`).

The indexer does it a piece at a time, between batches of fresh changes. A piece is read and
folded outside of any transaction, like a batch of the outbox, and written under the lock of its
chats. Last, the cursor in `search_refold` advances from the position that was read. So a kill
repeats at most one piece, and two indexers that fold the same piece do no harm. A text that was
written since it was read (its `xmin` changed) is skipped: the new rules were already applied.

Only texts that fold differently are written, and only those are queued for Elasticsearch.
Their version stays the same, so an index that is being built must not receive an older copy
after them: no piece is written during a rebuild. Searches continue; until the walk reaches
a text, it is found by the old rules.
"""

import logging
from collections.abc import Sequence
from typing import NamedTuple

from crud_service.interval import Interval
from crud_service.search.feed.outbox import FORGET_INDEX, REBUILD_LOCK
from crud_service.search.index.blocks import block_of, lock_chats
from crud_service.search.index.late_keys import LateKeys
from crud_service.search.index.scattered_blocks import join_blocks
from crud_service.search.text.folding import TEXT_FORMAT, mark
from crud_service.search.text.texts import columns
from crud_service.stores.database import Connection

logger = logging.getLogger(__name__)

PIECE_ROWS = 200
PIECE_BYTES = 256_000
# While more documents than this wait for Elasticsearch outside of any application, none are added.
MAX_QUEUED = 1000
LOG_EVERY_SECONDS = 10.0

FIND_WALK = """
SELECT done_format, format, chat_id, number FROM search_refold
WHERE done_format <> %s AND NOT (
    %s AND EXISTS (SELECT FROM search_queue WHERE application_id = 0 OFFSET %s)
)
"""
# Updates no row if another indexer was faster.
MOVE_WALK = """
UPDATE search_refold SET done_format = %s, format = %s, chat_id = %s, number = %s
WHERE (done_format, format, chat_id, number) = (%s, %s, %s, %s)
"""
MAY_WRITE = "SELECT pg_try_advisory_xact_lock_shared(%s)"

# A limited number of rows; the bodies before the last row are within the limit of bytes.
READ_PIECE = """
WITH rows AS MATERIALIZED (
    SELECT chat_id, number, message_id, xmin::text AS stamp, marked FROM search_texts
    WHERE (chat_id, number) > (%s, %s) ORDER BY chat_id, number LIMIT %s
), piece AS (
    SELECT rows.*, messages.version, messages.body, sum(coalesce(octet_length(messages.body), 0))
        OVER (ORDER BY rows.chat_id, rows.number ROWS UNBOUNDED PRECEDING
              EXCLUDE CURRENT ROW) AS bytes_before
    FROM rows LEFT JOIN messages
        ON messages.chat_id = rows.chat_id AND messages.number = rows.number
            AND messages.id = rows.message_id
)
SELECT chat_id, number, message_id, stamp, marked, version, body FROM piece
WHERE coalesce(bytes_before, 0) < %s ORDER BY chat_id, number
"""
UPDATE_TEXTS = """
UPDATE search_texts AS text SET marked = new.marked, version = new.version
FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::int[], %s::text[])
    AS new (chat_id, number, stamp, version, marked)
WHERE text.chat_id = new.chat_id AND text.number = new.number AND text.xmin = new.stamp::xid
RETURNING text.message_id, text.chat_id, text.number
"""
HAND_ON = """
INSERT INTO search_queue (message_id, chat_id, number, changed_at)
SELECT message_id, chat_id, number, now()
FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[]) AS changed (message_id, chat_id, number)
"""


class Walk(NamedTuple):
    """The row of `search_refold`."""

    done_format: int
    format: int
    chat_id: int
    number: int

    def position(self, text_format: int) -> tuple[int, int]:
        """Return the chat and number behind which a walk for a format continues.

        That is the beginning, if the walk so far was for another format.
        """
        return (self.chat_id, self.number) if self.format == text_format else (0, 0)


class Stored(NamedTuple):
    """A stored text and its current message; version and body are None if that was deleted."""

    chat_id: int
    number: int
    message_id: int
    stamp: str
    marked: str
    version: int | None
    body: str | None


class Changed(NamedTuple):
    """A text that now folds differently."""

    chat_id: int
    number: int
    stamp: str
    version: int | None
    marked: str


def refold_some(
    connection: Connection,
    *,
    hand_on: bool,
    rows: int = PIECE_ROWS,
    max_queued: int = MAX_QUEUED,
    text_format: int = TEXT_FORMAT,
) -> int:
    """Fold one piece of the stored texts again.

    Args:
        connection: a connection in autocommit mode.
        hand_on: whether changed texts are queued for Elasticsearch.
        rows: how many texts a piece has at most.
        max_queued: while more wait for Elasticsearch, none are folded.
        text_format: the format in which all texts are to be.

    Returns:
        How many texts were processed: 0 when all are done, during a rebuild, and while
        Elasticsearch lags behind.
    """
    found = connection.execute(FIND_WALK, (text_format, hand_on, max_queued)).fetchone()
    if found is None:
        return 0
    walk = Walk(*found)
    position = walk.position(text_format)
    parameters = (*position, rows, PIECE_BYTES)
    piece = [Stored(*row) for row in connection.execute(READ_PIECE, parameters)]
    if not write_piece(connection, fold(piece), hand_on=hand_on):
        return 0
    if piece:
        passed = {position, *((row.chat_id, row.number) for row in piece)}
        join_blocks(connection, [(chat, block_of(number)) for chat, number in passed], 1)
        after = Walk(walk.done_format, text_format, piece[-1].chat_id, piece[-1].number)
    else:
        after = Walk(text_format, text_format, *position)
    connection.execute(MOVE_WALK, (*after, *walk))
    progress.log(len(piece), is_done=not piece)
    return len(piece)


def fold(rows: Sequence[Stored]) -> list[Changed]:
    folded = [(row, mark(row.body)) for row in rows if row.body is not None]
    return [
        Changed(row.chat_id, row.number, row.stamp, row.version, marked)
        for row, marked in folded
        if marked != row.marked
    ]


def write_piece(connection: Connection, texts: Sequence[Changed], *, hand_on: bool) -> bool:
    """Write texts and their grams, and queue the texts; return False during a rebuild."""
    if not texts:
        return True
    late_keys = LateKeys(connection, texts)
    with connection.transaction():
        if not connection.execute(MAY_WRITE, (REBUILD_LOCK,)).fetchall()[0][0]:
            return False
        if not hand_on:
            connection.execute(FORGET_INDEX)
        covered = lock_chats(connection, list({text.chat_id for text in texts}))
        changed = connection.execute(UPDATE_TEXTS, columns(texts, 5)).fetchall()
        written = {(chat_id, number) for _message_id, chat_id, number in changed}
        late_keys.add(connection, covered, written)
        if hand_on:
            connection.execute(HAND_ON, columns(changed, 3))
    return True


class Progress:
    """Logs the progress of the walk: at its start, every LOG_EVERY_SECONDS and at its end."""

    def __init__(self) -> None:
        self._texts = 0
        self._interval = Interval(LOG_EVERY_SECONDS)

    def log(self, texts: int, *, is_done: bool) -> None:
        self._texts += texts
        if is_done:
            self._say("all texts are folded by the rules of this version")
            self._texts, self._interval = 0, Interval(LOG_EVERY_SECONDS)
        elif self._interval.has_passed():
            self._say("folding texts again")

    def _say(self, what: str) -> None:
        logger.info(what, extra={"entries": self._texts, "text_format": TEXT_FORMAT})


progress = Progress()

_IS_OUTDATED = f"""
walk.done_format <> {TEXT_FORMAT} AND (text.chat_id, text.number) > (
    CASE WHEN walk.format = {TEXT_FORMAT} THEN walk.chat_id ELSE 0 END,
    CASE WHEN walk.format = {TEXT_FORMAT} THEN walk.number ELSE 0 END
)
"""
# The number of texts that are still to be folded again, counted up to a limit.
COUNT_OUTDATED = f"""
(SELECT count(*) FROM search_refold AS walk CROSS JOIN LATERAL (
    SELECT FROM search_texts AS text WHERE {_IS_OUTDATED}
    ORDER BY text.chat_id, text.number LIMIT %d
) AS outdated)
"""
# Those of the given messages whose text is still to be folded again.
FIND_OUTDATED = f"""
SELECT messages.id FROM search_refold AS walk, messages JOIN search_texts AS text
  ON text.chat_id = messages.chat_id AND text.number = messages.number
WHERE messages.id = ANY (%(ids)s) AND {_IS_OUTDATED}
"""
