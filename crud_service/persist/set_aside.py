"""Entries that can never be stored: kept in a table, with the reason, out of the way."""

import base64
import logging
from collections.abc import Mapping, Sequence

import psycopg
from psycopg.types.json import Jsonb

from contract.entries import FIELDS, Entry, decode, encode
from contract.paths import MAX_NUMBER, mask_token
from crud_service.persist.accepted import BadEntry

logger = logging.getLogger(__name__)

UNKNOWN_APPLICATION = "unknown application"
BASE64 = "base64:"

_INSERT = """
INSERT INTO set_aside_entries
       (entry_id, access_token, chat_number, number, payload, reason)
VALUES (%(entry_id)s, %(access_token)s, %(chat_number)s, %(number)s, %(payload)s, %(reason)s)
ON CONFLICT (entry_id) DO NOTHING
"""


def set_aside(connection: psycopg.Connection, bad: Sequence[BadEntry]) -> None:
    """Keep entries with their reasons; one that is there already is left as it is."""
    rows = [set_aside_row(entry) for entry in bad]
    with connection.transaction(), psycopg.Cursor(connection) as cursor:
        cursor.executemany(_INSERT, rows)
    for row in rows:
        logger.error(
            "entry set aside",
            extra={
                "entry_id": row["entry_id"],
                "access_token": mask_token(str(row["access_token"])),
                "reason": row["reason"],
            },
        )


def as_bad(entry: Entry, reason: str) -> BadEntry:
    """A readable entry that PostgreSQL does not take, as the stream had it."""
    fields = {name.encode(): value.encode() for name, value in encode(entry).items()}
    return BadEntry(entry.entry_id, fields, reason)


def set_aside_row(bad: BadEntry) -> dict[str, object]:
    """A row of the table: what the entry tells, as far as it can be read."""
    token = to_text(bad.fields.get(b"access_token", b""))
    return {
        "entry_id": bad.entry_id,
        "access_token": "" if token.startswith(BASE64) else token[:255],
        "chat_number": to_number(bad.fields.get(b"chat_number", b"")),
        "number": to_number(bad.fields.get(b"number", b"")),
        "payload": Jsonb(to_payload(bad.fields)),
        "reason": bad.reason.replace("\x00", "\\0"),
    }


def to_payload(fields: Mapping[bytes, bytes]) -> dict[str, str]:
    """An entry's fields as JSON; what is not text that PostgreSQL holds becomes base64."""
    return {to_text(name): to_text(value) for name, value in fields.items()}


def from_payload(entry_id: str, payload: Mapping[str, str]) -> Entry:
    """The entry of a payload; raises BadEntryError while it is still unreadable."""
    fields = {name.encode(): to_bytes(payload[name]) for name in FIELDS if name in payload}
    return decode(entry_id.encode(), fields)


def to_text(value: bytes) -> str:
    """Bytes as a string that `to_bytes` turns back."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = ""
    if "\x00" in text or text.startswith(BASE64) or (value and not text):
        return BASE64 + base64.b64encode(value).decode()
    return text


def to_bytes(text: str) -> bytes:
    """The bytes that `to_text` made a string of."""
    if text.startswith(BASE64):
        return base64.b64decode(text[len(BASE64) :])
    return text.encode()


def to_number(value: bytes) -> int | None:
    """A number that the column can hold, else None."""
    try:
        number = int(value)
    except ValueError:
        return None
    return number if 0 <= number <= MAX_NUMBER else None
