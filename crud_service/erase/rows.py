"""Erases the rows of deleted chats and applications, a bounded batch at a time.

Each batch is a short transaction under the lock of its row in `deletions`, which goes last: a
process that is killed anywhere leaves the rest to the next one. Two that erase the same do no
harm. Messages leave search in the transaction in which they leave their table; Elasticsearch
hears of them through its queue.

A batch that the persister is storing meanwhile is not lost track of: it has either locked its
chats before they are deleted here, which then fails and is repeated, or it finds that they are
gone. What it keeps besides, conflicts and set-aside entries, is looked for once more at the
end, while nobody can write there.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import psycopg

from crud_service.search.feed.outbox import FORGET_INDEX
from crud_service.search.index.blocks import lock_chats
from crud_service.search.index.elasticsearch_index import has_elasticsearch
from crud_service.search.index.erasing import erase_failures
from crud_service.search.text.texts import columns
from crud_service.stores.database import Connection

# A batch ends at this many rows, or once it has this many bytes of bodies.
BATCH_ROWS = 1000
BATCH_BYTES = 2_000_000
CHATS_AT_ONCE = 100
# Of a transaction that holds up others that want to write the same tables.
LOCK_TIMEOUT = "200ms"

# The oldest of each application, as they take turns.
FIND_PENDING = """
SELECT DISTINCT ON (application_id) id, application_id, chat_id, access_token, chat_number,
    extract(epoch FROM clock_timestamp() - requested_at)::float8,
    ARRAY(SELECT former_token FROM rotations r WHERE r.application_id = d.application_id)
FROM deletions d WHERE application_id > %s ORDER BY application_id, id LIMIT 100
"""
CLAIM = "SELECT FROM deletions WHERE id = %s FOR UPDATE SKIP LOCKED"
FIND_CHATS = "SELECT id FROM chats WHERE application_id = %s ORDER BY number LIMIT %s"
# A nested loop that ends with its limit, whatever the chats hold.
ERASE_MESSAGES = """
WITH page AS MATERIALIZED (
    SELECT message.* FROM unnest(%s::bigint[]) AS chat (id)
    CROSS JOIN LATERAL (
        SELECT chat_id, number, octet_length(body) AS size FROM messages
        WHERE chat_id = chat.id ORDER BY number LIMIT %s
    ) AS message
    LIMIT %s
), picked AS (
    SELECT chat_id, number FROM (
        SELECT chat_id, number,
            sum(size) OVER (ORDER BY chat_id, number ROWS UNBOUNDED PRECEDING) - size AS before
        FROM page
    ) AS sized WHERE before < %s
)
DELETE FROM messages USING picked
WHERE messages.chat_id = picked.chat_id AND messages.number = picked.number
RETURNING messages.id, messages.chat_id, messages.number
"""
ERASE_TEXTS = """
DELETE FROM search_texts USING unnest(%s::bigint[], %s::bigint[]) AS erased (chat_id, number)
WHERE search_texts.chat_id = erased.chat_id AND search_texts.number = erased.number
"""
HAND_ON = """
INSERT INTO search_queue (application_id, message_id, chat_id, number, changed_at)
SELECT %s, id, chat_id, number, now()
FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[]) AS erased (id, chat_id, number)
"""
COUNT = "UPDATE deletions SET erased = erased + %s WHERE id = %s"
UNCOVER = "UPDATE search_chats SET blocks = 0 WHERE chat_id = ANY (%s) AND blocks <> 0"
ERASE_BLOCKS = """
DELETE FROM search_blocks WHERE chat_id = ANY (%(chats)s) AND ctid = ANY (ARRAY(
    SELECT ctid FROM search_blocks WHERE chat_id = ANY (%(chats)s) AND block >= 0 LIMIT %(rows)s
))
"""
ERASE_COVERAGE = "DELETE FROM search_chats WHERE chat_id = ANY (%s)"
ERASE_CHATS = "DELETE FROM chats WHERE id = ANY (%s)"
ERASE_APPLICATION = "DELETE FROM applications WHERE id = %s AND deleted_at IS NOT NULL"
LOCK_KEPT = "LOCK TABLE conflicts, set_aside_entries IN SHARE ROW EXCLUSIVE MODE"
ERASE_KEPT = """
DELETE FROM {table} WHERE id = ANY (ARRAY(
    SELECT id FROM {table}
    WHERE access_token = ANY (%s::text[])
      AND (%s::bigint IS NULL OR coalesce(chat_number, number) = %s::bigint)
    LIMIT %s
))
"""
KEPT = ("conflicts", "set_aside_entries")
FORGET_ROTATIONS = "DELETE FROM rotations WHERE application_id = %s"
FINISH = "DELETE FROM deletions WHERE id = %s"


class Deletion(NamedTuple):
    """A row of `deletions`; `chat_id` and `chat_number` are None for an application.

    `former_tokens` are all tokens of the application that were rotated, so among them that of the
    row, if that was rotated since.
    """

    id: int
    application_id: int
    chat_id: int | None
    access_token: str
    chat_number: int | None
    age_seconds: float = 0.0
    former_tokens: Sequence[str] = ()

    @property
    def access_tokens(self) -> list[str]:
        """The tokens under which entries of what was deleted may have been accepted."""
        return [self.access_token, *self.former_tokens]


def find_pending(connection: Connection) -> Iterator[Deletion]:
    """Yield the oldest deletion of each application."""
    last = 0
    while rows := connection.execute(FIND_PENDING, (last,)).fetchall():
        for row in rows:
            deletion = Deletion(*row)
            yield deletion
            last = deletion.application_id


def erase_rows(
    connection: Connection, deletion: Deletion, batch_rows: int = BATCH_ROWS
) -> int | None:
    """Erase one batch of a deletion; return how many messages it had, None if no row is left."""
    if erase_kept(connection, deletion, batch_rows):
        return 0
    if deletion.chat_id is not None:
        return erase_chats(connection, deletion, [deletion.chat_id], batch_rows)
    rows = connection.execute(FIND_CHATS, (deletion.application_id, CHATS_AT_ONCE))
    chats = [chat_id for (chat_id,) in rows]
    try:
        if chats:
            return erase_chats(connection, deletion, chats, batch_rows) or 0
        connection.execute(ERASE_APPLICATION, (deletion.application_id,))
    except psycopg.errors.ForeignKeyViolation:
        return 0  # the persister has just stored something
    return None


def erase_kept(connection: Connection, deletion: Deletion, batch_rows: int) -> int:
    """Erase a batch of the conflicts and the set-aside entries; return how many."""
    chat = deletion.chat_number
    parameters = (deletion.access_tokens, chat, chat, batch_rows)
    return sum(
        connection.execute(ERASE_KEPT.format(table=table), parameters).rowcount for table in KEPT
    )


def erase_chats(
    connection: Connection, deletion: Deletion, chats: Sequence[int], batch_rows: int
) -> int | None:
    """Erase a batch of what some chats hold; then, of an application, the chats themselves.

    Returns how many messages were erased, None if nothing was left.
    """
    with connection.transaction():
        if not connection.execute(CLAIM, (deletion.id,)).fetchall():
            return 0
        lock_chats(connection, chats)
        connection.execute(UNCOVER, (chats,))
        if connection.execute(ERASE_BLOCKS, {"chats": chats, "rows": batch_rows}).rowcount:
            return 0
        if erased := erase_messages(connection, deletion, chats, batch_rows):
            return erased
        connection.execute(ERASE_COVERAGE, (chats,))
        if deletion.chat_id is None:
            connection.execute(ERASE_CHATS, (chats,))
    return None


def erase_messages(
    connection: Connection, deletion: Deletion, chats: Sequence[int], batch_rows: int
) -> int:
    """Erase a batch of messages, with their texts; the chats must be locked."""
    connection.execute("SET LOCAL chat.erasing = 'on'")
    parameters = (chats, batch_rows, batch_rows, BATCH_BYTES)
    erased = connection.execute(ERASE_MESSAGES, parameters).fetchall()
    if not erased:
        return 0
    ids, *keys = columns(erased, 3)
    connection.execute(ERASE_TEXTS, keys)
    erase_failures(connection, [message_id for message_id, *_ in erased])
    if has_elasticsearch():
        connection.execute(HAND_ON, (deletion.application_id, ids, *keys))
    else:
        connection.execute(FORGET_INDEX)
    connection.execute(COUNT, (len(erased), deletion.id))
    return len(erased)


def finish(connection: Connection, deletion: Deletion) -> bool:
    """Remove a deletion that is done; return False if more was kept of it meanwhile.

    Raises psycopg's LockNotAvailable if others are writing where it looks.
    """
    with connection.transaction():
        connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
        connection.execute(LOCK_KEPT)
        if erase_kept(connection, deletion, BATCH_ROWS):
            return False
        if deletion.chat_id is None:
            connection.execute(FORGET_ROTATIONS, (deletion.application_id,))
        connection.execute(FINISH, (deletion.id,))
    return True
