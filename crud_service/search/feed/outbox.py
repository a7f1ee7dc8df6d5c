"""The step from `messages` to `search_texts`: folds changed messages, a bounded batch at a time.

A batch is read without a lock, folded outside of any transaction, and written in
one short transaction. This keeps it correct with any number of concurrent processes,
wherever each of them is stopped:

1. A change and its row in the outbox are committed together. A batch reads both in
   one statement, so the text that it makes is at least as new as the rows it read.
   A message that changes again has another row, with another id, which stays.
2. The transaction first locks the batch's chats in `search_chats`, in the order of their
   ids. Everything that is written for a chat (texts, blocks, deletions from the outbox) is
   written under that lock, so each writer sees all that the previous one wrote.
3. It deletes exactly the rows that were read, by their ids, and moves to `search_queue`
   only those that it deleted itself: a change is handed on once.
4. A text only replaces one that is not newer, by (message id, version), and is only written
   while its message exists and is no tombstone; it is only removed otherwise. A process that
   was delayed for long can therefore write nothing that stays outdated: if the message is
   deleted after this check, the row of that deletion is still in the outbox. A deletion that
   leaves a tombstone removes the text under the chat's lock, so erased text is never written.
5. No change can make a batch fail repeatedly: a refused batch is halved, and a single
   change that is refused goes to `search_failures` with its reason.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import psycopg

from crud_service.search.feed.failures import FORGET
from crud_service.search.feed.fair import Turn, pick
from crud_service.search.index.blocks import (
    UNCOVERED,
    Uncovered,
    block_of,
    cover_long_chats,
    lock_chats,
    rebuild_block,
)
from crud_service.search.index.late_keys import LateKeys, late
from crud_service.search.index.scattered_blocks import join_blocks
from crud_service.search.text.folding import mark
from crud_service.search.text.texts import Text, columns
from crud_service.stores.database import Connection

logger = logging.getLogger(__name__)

# Arrays are sent in PostgreSQL's binary format (the `b` of the placeholders), here and where the
# other statements of each batch are: psycopg encodes it several times as fast as text.
BATCH = 1000
# Bytes of bodies; the last one may exceed it.
BATCH_BYTES = 1_000_000

READ = (
    pick(
        "search_outbox",
        size="(SELECT octet_length(body) FROM messages WHERE messages.chat_id = waiting.chat_id"
        " AND messages.number = waiting.number AND messages.id = waiting.message_id)",
    )
    + """
SELECT picked.ids, picked.message_id, picked.chat_id, picked.number, message.version, message.body,
    message.change
FROM picked LEFT JOIN LATERAL (
    SELECT CASE WHEN deleted_at IS NULL THEN version END AS version, body, change
    FROM messages
    WHERE messages.chat_id = picked.chat_id AND messages.number = picked.number
      AND messages.id = picked.message_id OFFSET 0
) AS message ON true
ORDER BY picked.chat_id, picked.number
"""
)

STORE = """
INSERT INTO search_texts (chat_id, number, message_id, version, marked)
SELECT * FROM unnest(%b::bigint[], %b::bigint[], %b::bigint[], %b::int[], %b::text[])
    AS given (chat_id, number, message_id, version, marked)
WHERE EXISTS (
    SELECT FROM messages
    WHERE messages.chat_id = given.chat_id AND messages.number = given.number
      AND messages.id = given.message_id AND messages.deleted_at IS NULL
)
ON CONFLICT (chat_id, number) DO UPDATE
SET message_id = excluded.message_id, version = excluded.version, marked = excluded.marked
WHERE (search_texts.message_id, search_texts.version) <= (excluded.message_id, excluded.version)
RETURNING chat_id, number
"""

REMOVE = """
DELETE FROM search_texts USING unnest(%b::bigint[], %b::bigint[], %b::bigint[])
    AS gone (chat_id, number, message_id)
WHERE search_texts.chat_id = gone.chat_id AND search_texts.number = gone.number
  AND search_texts.message_id = gone.message_id
  AND NOT EXISTS (
      SELECT FROM messages
      WHERE messages.chat_id = gone.chat_id AND messages.number = gone.number
        AND messages.id = gone.message_id AND messages.deleted_at IS NULL
  )
"""

FINISH = """
DELETE FROM search_outbox WHERE chat_id = ANY (%b::bigint[]) AND id = ANY (%b::bigint[])
"""
HAND_ON = f"""
WITH done AS ({FINISH} RETURNING application_id, message_id, chat_id, number, changed_at)
INSERT INTO search_queue (application_id, message_id, chat_id, number, changed_at)
SELECT max(application_id), message_id, chat_id, number, min(changed_at)
FROM done GROUP BY message_id, chat_id, number
"""

# From here on the index misses changes. Once Elasticsearch is configured again, the
# indexer starts a new index.
FORGET_INDEX = """
UPDATE search_state
SET index_format = 0, index_name = '', building = '', fill_chat = NULL, fill_number = NULL
WHERE index_format <> 0 OR index_name <> '' OR building <> ''
"""

# Held by `rebuild_index` while it runs, and while a new index is started. The lock
# belongs to the session (the connection), so it needs no open transaction.
REBUILD_LOCK = 0x5EA7C4

# A reason may quote the text. Under the lock a message is not being deleted: a deletion that
# comes later erases the reason, and behind one that came earlier none is kept. Messages are
# locked in the order in which they are erased, and before their failures, as a deletion does.
SET_ASIDE = """
WITH refused AS (
    SELECT * FROM unnest(%b::bigint[], %b::bigint[], %b::bigint[], %b::text[], %b::bool[])
        AS given (message_id, chat_id, number, reason, is_deletion)
), present AS MATERIALIZED (
    SELECT messages.id FROM messages JOIN refused
      ON messages.chat_id = refused.chat_id AND messages.number = refused.number
     AND messages.id = refused.message_id
    WHERE messages.deleted_at IS NULL
    ORDER BY messages.chat_id, messages.number FOR SHARE OF messages
)
INSERT INTO search_failures (message_id, reason)
SELECT message_id, reason FROM refused
WHERE is_deletion OR message_id IN (SELECT id FROM present)
ORDER BY message_id
ON CONFLICT (message_id) DO UPDATE SET reason = excluded.reason, failed_at = now()
"""

# The errors that PostgreSQL raises because of the data written.
REFUSALS = (psycopg.DataError, psycopg.IntegrityError, psycopg.errors.ProgramLimitExceeded)

turn = Turn("search_outbox")

Mark = Callable[[str], str]


class Refused(NamedTuple):
    """A message that cannot be indexed, and why; or a deletion that cannot."""

    message_id: int
    chat_id: int
    number: int
    reason: str
    is_deletion: bool


class Change(NamedTuple):
    """A changed message with the ids of its outbox rows; version None means it was deleted,
    with or without a tombstone.

    `edit` is the number of its last change, 0 for a new message.
    """

    ids: list[int]
    message_id: int
    chat_id: int
    number: int
    version: int | None
    body: str | None
    edit: int | None


def index_batch(
    connection: Connection,
    *,
    hand_on: bool,
    limit: int = BATCH,
    size: int = BATCH_BYTES,
    edited: Callable[[list[int]], None] = lambda chat_ids: None,
    mark: Mark = mark,
    uncovered: Uncovered = UNCOVERED,
) -> int:
    """Fold one batch of changed messages.

    Args:
        hand_on: whether the messages are queued for Elasticsearch, in the same transaction, so
            that PostgreSQL's search and the queue cannot diverge.
        limit: how many changes a batch has at most.
        size: how many bytes of text it has at most, its last text aside.
        edited: called with the ids of chats with edited messages, while these are still in the
            outbox: again after a crash.
        mark: folds a text and marks its words.
        uncovered: how many blocks of a chat stay without keys.

    Returns:
        The number of changes, 0 if none waits.
    """
    changes = [Change(*row) for row in turn.read(connection, READ, limit, size)]
    if edits := {change.chat_id for change in changes if change.edit}:
        edited(sorted(edits))
    if changes:
        Indexing(connection, hand_on, mark, uncovered).index(changes)
    elif not hand_on:
        connection.execute(FORGET_INDEX)
    return sum(len(change.ids) for change in changes)


@dataclass(frozen=True, slots=True)
class Indexing:
    connection: Connection
    hand_on: bool
    mark: Mark
    uncovered: Uncovered

    def index(self, changes: Sequence[Change]) -> None:
        """Index changes; set aside those that are refused even alone."""
        try:
            self.store(changes)
        except Exception as error:
            if isinstance(error, psycopg.Error) and not isinstance(error, REFUSALS):
                raise  # PostgreSQL is unavailable or out of resources: the data is not the cause
            self.divide(changes, error)

    def divide(self, changes: Sequence[Change], error: Exception) -> None:
        """Retry the halves of refused changes; set aside a single one."""
        if len(changes) > 1:
            middle = len(changes) // 2
            self.index(changes[:middle])
            self.index(changes[middle:])
            return
        (change,) = changes
        reason = f"not folded: {type(error).__name__}: {error}".replace("\0", "")[:1000]
        refused = Refused(
            change.message_id, change.chat_id, change.number, reason, change.version is None
        )
        with self.connection.transaction():
            set_aside(self.connection, [refused])
            self.connection.execute(FINISH, ([change.chat_id], change.ids))

    def store(self, changes: Sequence[Change]) -> None:
        """Fold changes, given in the order of their keys, and write them in one transaction."""
        connection = self.connection
        texts = [text for text in map(self.fold, changes) if text]
        deleted = [change for change in changes if change.version is None]
        late_keys = LateKeys(connection, texts)
        with connection.transaction():
            if not self.hand_on:
                connection.execute(FORGET_INDEX)
            chats = list({change.chat_id for change in changes})
            covered = lock_chats(connection, chats, late_keys.known_chats)
            late_keys.add(connection, covered, store_texts(connection, texts))
            remove_texts(connection, deleted)
            ids = [id for change in changes for id in change.ids]
            connection.execute(HAND_ON if self.hand_on else FINISH, (chats, ids))
            connection.execute(FORGET, ([change.message_id for change in changes],))
        highest = {text.chat_id: text.number for text in texts}
        cover_long_chats(connection, highest, covered, self.uncovered)
        join_blocks(connection, [(t.chat_id, block_of(t.number)) for t in late(texts, covered)])
        for chat_id, block in sorted({(each.chat_id, block_of(each.number)) for each in deleted}):
            if block < covered.get(chat_id, 0):
                rebuild_block(connection, chat_id, block)

    def fold(self, change: Change) -> Text | None:
        if change.version is None or change.body is None:
            return None
        marked = self.mark(change.body)
        return Text(change.chat_id, change.number, change.message_id, change.version, marked)


def store_texts(connection: Connection, texts: Sequence[Text]) -> set[tuple[int, int]]:
    """Write texts, whose chats must be locked; return the chats and numbers of those written."""
    if not texts:
        return set()
    rows = [(t.chat_id, t.number, t.message_id, t.version, t.marked) for t in texts]
    return set(connection.execute(STORE, columns(rows, 5)).fetchall())


def remove_texts(connection: Connection, deleted: Sequence[Change]) -> None:
    """Remove the texts of deleted messages; their chats must be locked."""
    if deleted:
        rows = [(change.chat_id, change.number, change.message_id) for change in deleted]
        connection.execute(REMOVE, columns(rows, 3))


def set_aside(connection: Connection, refused: Sequence[Refused]) -> None:
    """Keep for operators why messages cannot be indexed; skip those deleted in the meantime.

    The log has no reason: nothing would erase it there.
    """
    if refused:
        connection.execute(SET_ASIDE, columns(refused, 5))
        first = refused[0].message_id
        logger.error("%d messages cannot be indexed; the first is %d", len(refused), first)
