"""Keeps entries that cannot be stored in a table, with the reason: a dead-letter table."""

import base64
import logging
from collections.abc import Mapping, Sequence

import psycopg
from psycopg.types.json import Jsonb

from contract.entries import ATTRIBUTES, FIELDS, Entry, decode, encode
from contract.paths import MAX_NUMBER, mask_token
from crud_service.persist.accepted import BadEntry

logger = logging.getLogger(__name__)

UNKNOWN_APPLICATION = "unknown application"
BASE64 = "base64:"

_INSERT = """
INSERT INTO set_aside_entries
       (entry_id, access_token, chat_number, number, payload, reason)
SELECT %(entry_id)s, %(access_token)s::text, %(chat_number)s::bigint, %(number)s::bigint,
       %(payload)s, %(reason)s
WHERE NOT is_erased(
    %(access_token)s::text,
    coalesce(%(chat_number)s, %(number)s)::bigint,
    CASE WHEN %(chat_number)s::bigint IS NOT NULL THEN %(number)s::bigint END
)
ON CONFLICT (entry_id, access_token) DO NOTHING
"""


def set_aside(connection: psycopg.Connection, bad: Sequence[BadEntry]) -> None:
    """Insert entries with their reasons; one that is already in the table stays as it is.

    Those of what was deleted are dropped.
    """
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
    """Return an entry that PostgreSQL refused as one to set aside, with the reason."""
    fields = {name.encode(): value.encode() for name, value in encode(entry).items()}
    return BadEntry(entry.entry_id, fields, reason)


def set_aside_row(bad: BadEntry) -> dict[str, object]:
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
    """Return an entry's fields as JSON; base64 for values that are no valid PostgreSQL text."""
    return {to_text(name): to_text(value) for name, value in fields.items()}


def from_payload(entry_id: str, payload: Mapping[str, str]) -> Entry:
    """Return the entry of a payload; raise BadEntryError if it is unreadable."""
    names = (*FIELDS, ATTRIBUTES)
    fields = {name.encode(): to_bytes(payload[name]) for name in names if name in payload}
    return decode(entry_id.encode(), fields)


def to_text(value: bytes) -> str:
    """Encode bytes as a string that `to_bytes` decodes."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = ""
    if "\x00" in text or text.startswith(BASE64) or (value and not text):
        return BASE64 + base64.b64encode(value).decode()
    return text


def to_bytes(text: str) -> bytes:
    if text.startswith(BASE64):
        return base64.b64decode(text[len(BASE64) :])
    return text.encode()


def to_number(value: bytes) -> int | None:
    """Parse a number; return None if it is invalid or does not fit the column."""
    try:
        number = int(value)
    except ValueError:
        return None
    return number if 0 <= number <= MAX_NUMBER else None
