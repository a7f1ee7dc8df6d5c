"""Stores a batch of accepted entries: rows and counts in one transaction.

Idempotent: entries that are already stored are recognised and skipped, so a batch may
be stored again after a crash, or by two concurrent persisters.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import psycopg
from psycopg.errors import LockNotAvailable

from contract.changed_chats import ChatKey
from contract.entries import Entry
from crud_service.persist import store_sql


@dataclass(slots=True)
class Stored:
    """The outcome of a batch: counts of rows and replays, and the entries not stored.

    `late_chats` are creations of chats that already had a row, which may add a name or metadata.
    `dropped` entries belong to a chat or an application that was deleted.
    """

    messages: int = 0
    chats: int = 0
    replays: int = 0
    dropped: int = 0
    conflicts: list[Entry] = field(default_factory=list)
    unknown: list[Entry] = field(default_factory=list)
    refused: list[Entry] = field(default_factory=list)
    late_chats: list[Entry] = field(default_factory=list)

    @property
    def set_aside(self) -> int:
        return len(self.unknown) + len(self.refused)

    @property
    def found(self) -> int:
        """How many entries may have been decided by what an earlier transaction wrote."""
        return self.replays + self.dropped + self.set_aside + len(self.conflicts)

    def add(self, other: "Stored") -> None:
        self.messages += other.messages
        self.chats += other.chats
        self.replays += other.replays
        self.dropped += other.dropped
        self.conflicts += other.conflicts
        self.unknown += other.unknown
        self.refused += other.refused


class Chats(NamedTuple):
    """The chats that a batch needs: ids of the existing ones, application ids of the missing,
    and those that were deleted.
    """

    ids: dict[ChatKey, int]
    missing: dict[ChatKey, int]
    deleted: set[ChatKey]


class OvertakenError(Exception):
    """A chat is deleted, or a message changed, during a transaction, which is rolled back."""


def store(connection: psycopg.Connection, entries: Sequence[Entry]) -> Stored:
    """Store a batch in one transaction; on psycopg.Error nothing of it is stored."""
    while True:
        try:
            return store_once(connection, entries)
        except OvertakenError:
            continue  # the next transaction finds what has become of it


def store_once(connection: psycopg.Connection, entries: Sequence[Entry]) -> Stored:
    """Store a batch; raise OvertakenError if something of it is deleted meanwhile."""
    stored = Stored()
    with connection.transaction(), psycopg.Cursor(connection) as cursor:
        ids, _missing, deleted = store_chats(cursor, entries, stored)
        known = [entry for entry in entries if chat_key(entry) in ids]
        if len(known) < len(entries):
            others = [entry for entry in entries if chat_key(entry) not in ids]
            drop_deleted(cursor, others, deleted, stored)
        messages = [entry for entry in known if not entry.is_chat]
        if messages:
            store_messages(cursor, messages, ids, stored)
        if stored.late_chats:
            fill_chats(cursor, stored.late_chats, ids)
        if stored.conflicts:
            rows = [conflict_row(entry) for entry in stored.conflicts]
            cursor.executemany(store_sql.INSERT_CONFLICT, rows)
    return stored


def drop_deleted(
    cursor: psycopg.Cursor, entries: Sequence[Entry], deleted: set[ChatKey], stored: Stored
) -> None:
    """Sort entries of no chat that can be stored into: of deleted ones, and of no application."""
    unknown = [entry for entry in entries if chat_key(entry) not in deleted]
    tokens = list({entry.access_token for entry in unknown})
    if tokens:
        rows = cursor.execute(store_sql.FIND_DELETED, {"tokens": tokens})
        erased = {token for (token,) in rows}
        unknown = [entry for entry in unknown if entry.access_token not in erased]
    stored.unknown = unknown
    stored.dropped = len(entries) - len(unknown)


def chat_key(entry: Entry) -> ChatKey:
    """Return the chat that an entry creates or belongs to."""
    number = entry.chat_number
    return entry.access_token, entry.number if number is None else number


def created_ms(entry: Entry) -> int:
    """Return when an entry was accepted, in milliseconds since 1970."""
    return int(entry.entry_id.partition("-")[0])


def store_chats(cursor: psycopg.Cursor, entries: Sequence[Entry], stored: Stored) -> Chats:
    """Insert the missing chats; return all chats whose application exists.

    A message whose chat is missing creates that chat: the message got a number, so the
    creation of the chat was confirmed to a client, whatever happened to its own entry.
    """
    # A chat's time of creation is that of the first entry that names it.
    first: dict[ChatKey, Entry] = {}
    for entry in entries:
        first.setdefault(chat_key(entry), entry)
    chats = find_chats(cursor, list(first))
    ids, missing = chats.ids, chats.missing
    if missing:
        stored.chats = insert_chats(cursor, missing, first)
        inserted = find_chats(cursor, list(missing))
        ids.update(inserted.ids)
        chats.deleted.update(inserted.deleted)
    created = [entry for entry in entries if entry.is_chat and chat_key(entry) in ids]
    # Unless another persister inserted some of them.
    made = [first[key] for key in missing] if stored.chats == len(missing) else []
    made = [entry for entry in made if entry.is_chat]
    judge_chats(cursor, created, made, ids, stored)
    return chats


def judge_chats(
    cursor: psycopg.Cursor,
    created: Sequence[Entry],
    made: Sequence[Entry],
    ids: dict[ChatKey, int],
    stored: Stored,
) -> None:
    """Sort creations of chats into replays and conflicts (the number is another chat's).

    `made` are the creations whose rows were inserted just now: they are neither.
    """
    if len(created) == len(made):
        return
    # Of two creations in the same millisecond, only the first can be the row's own.
    own = {chat_key(entry) for entry in made}
    new = set(map(id, made))
    again = [entry for entry in created if id(entry) not in new]
    parameters = {
        "chats": [ids[chat_key(entry)] for entry in again],
        "at": [created_ms(entry) for entry in again],
    }
    rows = cursor.execute(store_sql.FIND_CHAT_CONFLICTS, parameters)
    taken = {position for (position,) in rows}
    replays = []
    for position, entry in enumerate(again, 1):
        if position in taken or chat_key(entry) in own:
            stored.conflicts.append(entry)
        else:
            own.add(chat_key(entry))
            replays.append(entry)
    stored.replays += len(replays)
    stored.late_chats = [entry for entry in replays if entry.attributes]


def fill_chats(cursor: psycopg.Cursor, created: Sequence[Entry], ids: dict[ChatKey, int]) -> None:
    """Give chats whose rows were made for a message the name and metadata of their creations."""
    created = sorted(created, key=lambda entry: ids[chat_key(entry)])
    parameters = {
        "chats": [ids[chat_key(entry)] for entry in created],
        "at": [created_ms(entry) for entry in created],
        "attributes": [entry.attributes for entry in created],
    }
    cursor.execute(store_sql.FILL_CHATS, parameters)


def find_chats(cursor: psycopg.Cursor, keys: Sequence[ChatKey]) -> Chats:
    parameters = {
        "tokens": [token for token, _ in keys],
        "numbers": [number for _, number in keys],
    }
    chats = Chats({}, {}, set())
    rows = cursor.execute(store_sql.FIND_CHATS, parameters)
    for position, application_id, chat_id, is_deleted in rows:
        if is_deleted:
            chats.deleted.add(keys[position - 1])
        elif chat_id is not None:
            chats.ids[keys[position - 1]] = chat_id
        elif application_id is not None:
            chats.missing[keys[position - 1]] = application_id
    return chats


def insert_chats(
    cursor: psycopg.Cursor, missing: dict[ChatKey, int], first: dict[ChatKey, Entry]
) -> int:
    """Insert chats and update their applications' counts; return how many were inserted."""
    parameters = {
        "applications": list(missing.values()),
        "numbers": [number for _, number in missing],
        "at": [created_ms(first[key]) for key in missing],
        "attributes": [first[key].attributes if first[key].is_chat else "" for key in missing],
    }
    ((inserted,),) = cursor.execute(store_sql.INSERT_CHATS, parameters).fetchall()
    return int(inserted)


def store_messages(
    cursor: psycopg.Cursor, entries: Sequence[Entry], ids: dict[ChatKey, int], stored: Stored
) -> None:
    """Insert messages, update their chats, and find conflicts and replays.

    Args:
        cursor: one in a transaction.
        entries: messages of chats that are stored.
        ids: the ids of these chats.
        stored: the outcome so far, which is added to.

    Raises OvertakenError if a chat was deleted meanwhile, or a message is being changed whose
    number an entry has, too.
    """
    parameters: dict[str, object] = {
        "chats": [ids[chat_key(entry)] for entry in entries],
        "numbers": [entry.number for entry in entries],
        "bodies": [entry.body for entry in entries],
        "at": [created_ms(entry) for entry in entries],
    }
    attributes = [entry.attributes for entry in entries]
    if any(attributes):
        parameters["attributes"] = attributes
        insert = store_sql.INSERT_MESSAGES_WITH_ATTRIBUTES
    else:
        insert = store_sql.INSERT_MESSAGES
    inserted = cursor.execute(insert, parameters).fetchall()
    ((stored.messages, late, is_overtaken),) = inserted
    if is_overtaken:
        raise OvertakenError
    if late:
        chats, numbers = map(list, zip(*late, strict=True))
        cursor.execute(store_sql.NUMBER_LATE, {"chats": chats, "numbers": numbers})
    if stored.messages == len(entries):
        return
    parameters["attributes"] = attributes
    try:
        rows = cursor.execute(store_sql.FIND_CONFLICTS, parameters).fetchall()
    except LockNotAvailable as error:
        raise OvertakenError from error
    conflicts = [entries[position - 1] for (position,) in rows]
    stored.conflicts += conflicts
    stored.replays += len(entries) - stored.messages - len(conflicts)


def conflict_row(entry: Entry) -> dict[str, object]:
    return {
        "entry_id": entry.entry_id,
        "access_token": entry.access_token,
        "chat_number": entry.chat_number,
        "number": entry.number,
        "body": entry.body,
        "attributes": entry.attributes,
        "accepted_at": entry.created_at,
    }
