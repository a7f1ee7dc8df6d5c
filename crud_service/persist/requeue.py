"""Stores set-aside entries once their obstacle has been removed.

They go directly to `persist.store` instead of through the stream, which would give
them new ids, and therefore another `created_at`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import psycopg
from django import db

from contract.changed_chats import ChatKey
from contract.entries import BadEntryError, read_id
from crud_service.chat.announcements import publish
from crud_service.chat.models import SetAsideEntry
from crud_service.persist.accepted import check_storable
from crud_service.persist.former_tokens import store_by_any_token
from crud_service.persist.poison import is_refusal, reason
from crud_service.persist.set_aside import UNKNOWN_APPLICATION, from_payload
from crud_service.persist.store import Stored, chat_key
from crud_service.search.index.doorbell import wake_indexer
from crud_service.stores.redis_clients import hint_redis

# Skips a row that another process is requeuing at this moment.
_CLAIM = """
SELECT entry_id, payload::text FROM set_aside_entries WHERE id = %s FOR UPDATE SKIP LOCKED
"""
_DELETE = "DELETE FROM set_aside_entries WHERE id = %s"
_GIVE_REASON = "UPDATE set_aside_entries SET reason = %s WHERE id = %s"


class Left(NamedTuple):
    """An entry that stays set aside; two shards may have given the same id."""

    entry_id: str
    obstacle: str


@dataclass(slots=True)
class Requeued:
    stored: Stored = field(default_factory=Stored)
    chats: set[ChatKey] = field(default_factory=set)
    left: list[Left] = field(default_factory=list)

    def describe(self) -> str:
        done = self.stored
        return (
            f"{done.messages} messages and {done.chats} chats stored, "
            f"{done.replays} were already stored, "
            f"{done.dropped} were of what was deleted, "
            f"{len(done.conflicts)} moved to conflicts, {len(self.left)} still set aside"
        )


def requeue(ids: Sequence[int] | None = None) -> Requeued:
    """Store set-aside entries, oldest first: those with these row ids, or all."""
    requeued = Requeued()
    db.connection.ensure_connection()
    for row_id in in_stream_order(ids):
        requeue_one(db.connection.connection, row_id, requeued)
    if requeued.stored.messages:
        wake_indexer()
    publish(hint_redis(), requeued.chats)
    return requeued


def in_stream_order(ids: Sequence[int] | None) -> list[int]:
    """Return row ids in the order of acceptance of their entries: a chat before its messages."""
    rows = SetAsideEntry.objects.values_list("entry_id", "id")
    if ids is not None:
        rows = rows.filter(id__in=ids)
    return [row_id for _, row_id in sorted(rows, key=lambda row: read_id(row[0].encode()))]


def requeue_one(connection: psycopg.Connection, row_id: int, requeued: Requeued) -> None:
    with connection.transaction(), psycopg.Cursor(connection) as cursor:
        row = cursor.execute(_CLAIM, (row_id,)).fetchone()
        if row is None:
            return
        entry_id, payload = row
        obstacle = try_to_store(connection, entry_id, json.loads(payload), requeued)
        if obstacle is None:
            cursor.execute(_DELETE, (row_id,))
        else:
            cursor.execute(_GIVE_REASON, (obstacle, row_id))
            requeued.left.append(Left(entry_id, obstacle))


def try_to_store(
    connection: psycopg.Connection, entry_id: str, payload: dict[str, str], requeued: Requeued
) -> str | None:
    """Store an entry; return None if it is stored, else the obstacle."""
    try:
        entry = check_storable(from_payload(entry_id, payload))
        outcome = store_by_any_token(connection, [entry])
    except BadEntryError as error:
        return str(error)
    except psycopg.Error as error:
        if not is_refusal(error):
            raise
        return reason(error)
    if outcome.unknown:
        return UNKNOWN_APPLICATION
    requeued.stored.add(outcome)
    requeued.chats.add(chat_key(entry))
    return None
