"""Repairs what `check` found: removes wrong texts and documents, and queues their messages."""

import time

from crud_service.search.feed.bulk import delete_documents
from crud_service.search.feed.check_report import Found
from crud_service.search.feed.outbox import REBUILD_LOCK
from crud_service.search.index.blocks import lock_chats
from crud_service.search.index.elasticsearch_index import GC_DELETES, alias, client
from crud_service.search.index.erasing import erase_failures
from crud_service.search.text.texts import columns
from crud_service.stores.advisory_locks import awaited_lock, lock
from crud_service.stores.database import Connection

TICK_SECONDS = 0.5
# Held while the index forgets deletions at once. It ends with the connection, even after kill -9:
# a process that gets it knows that no repair is in progress.
FORGETTING_LOCK = REBUILD_LOCK + 2

FIND_CHATS = "SELECT DISTINCT chat_id FROM messages WHERE id = ANY (%s)"
FORGET_TEXTS = """
DELETE FROM search_texts USING messages
WHERE messages.id = ANY (%s)
  AND search_texts.chat_id = messages.chat_id AND search_texts.number = messages.number
"""
FORGET_STRAY_TEXTS = """
DELETE FROM search_texts
USING unnest(%s::bigint[], %s::bigint[], %s::bigint[]) AS stray (chat_id, number, message_id)
WHERE search_texts.chat_id = stray.chat_id AND search_texts.number = stray.number
  AND search_texts.message_id = stray.message_id
"""
# Queued as application 0, which has a share of its own: repairs delay no application.
ENQUEUE = """
INSERT INTO search_outbox (message_id, chat_id, number)
SELECT id, chat_id, number FROM (
    SELECT id, chat_id, number FROM messages WHERE id = ANY (%s)
    UNION
    SELECT id, chat_id, number FROM unnest(%s::bigint[], %s::bigint[]) AS stray (chat_id, number)
    JOIN messages USING (chat_id, number)
) AS wrong ORDER BY id
"""


def repair(connection: Connection, found: Found, tick_seconds: float = TICK_SECONDS) -> None:
    """Remove what is wrong, and queue its messages to be indexed again."""
    ids = sorted(found.texts.keys() | found.documents.keys())
    if found.documents:
        forget_documents(connection, sorted(found.documents), tick_seconds)
    chats, numbers, stray_ids = columns(found.stray_texts, 3)
    with connection.transaction():
        # Every writer of a chat's texts must hold the chat's lock (see `outbox`).
        found_in = {chat_id for (chat_id,) in connection.execute(FIND_CHATS, (ids,))}
        lock_chats(connection, list(found_in.union(key.chat_id for key in found.stray_texts)))
        connection.execute(FORGET_TEXTS, (sorted(found.texts),))
        connection.execute(FORGET_STRAY_TEXTS, (chats, numbers, stray_ids))
        erase_failures(connection, ids)
        connection.execute(ENQUEUE, (ids, chats, numbers))


def restore_settings(connection: Connection) -> None:
    """Have the index remember deletions again, if a repair was killed before it could."""
    with lock(connection, FORGETTING_LOCK) as ours:
        if ours:
            remember_deletions()


def remember_deletions() -> None:
    settings = {"gc_deletes": GC_DELETES}
    client().indices.put_settings(index=alias(), settings=settings, ignore_unavailable=True)


def forget_documents(connection: Connection, message_ids: list[int], tick_seconds: float) -> None:
    """Delete documents so that any version of them can be indexed again."""
    index = alias()
    with awaited_lock(connection, FORGETTING_LOCK):
        try:
            client().indices.put_settings(index=index, settings={"gc_deletes": "0s"})
            delete_documents(index, message_ids)
            # The version of a deleted document is kept until a refresh drops it. Elasticsearch uses
            # a clock that ticks five times a second, and does not drop what was deleted within
            # the tick of the refresh.
            time.sleep(tick_seconds)
            client().indices.refresh(index=index)
        finally:
            remember_deletions()
