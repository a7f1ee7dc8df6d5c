"""Entries of the stream `accepted`: one numbered chat or message each.

Producer: `numbering_service/creations/numbers.lua`. Consumer: `crud_service.persist.store`.
The entry's id is `<milliseconds>-<counter>` by Redis's clock; its milliseconds
are the moment at which the number was handed out, the `created_at` of the row.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# In the order in which numbers.lua writes them. Every entry has all of them and most have no
# others, so that the stream stores their names once per node and not once per entry.
FIELDS = ("access_token", "chat_number", "number", "body", "request_id")
# Last, and only in the entry of a creation that has any of these: a JSON object of a message's
# `sender`, `metadata` and `reply_to`, or of a chat's `name` and `metadata`.
#     {"sender":"Ann","metadata":{"mood":"calm"},"reply_to":4}
ATTRIBUTES = "attributes"
_NAMES = tuple(name.encode() for name in FIELDS)
_ATTRIBUTES = ATTRIBUTES.encode()


# Milliseconds and counter: ids compare as the stream orders them.
EntryId = tuple[int, int]


class Backlog(NamedTuple):
    """How many entries wait to be stored, and for how long the oldest has waited."""

    entries: int
    oldest_age_seconds: float


def total(backlogs: Iterable[Backlog]) -> Backlog:
    """Return the backlog of all shards, at least one, by those of each."""
    entries, ages = zip(*backlogs, strict=True)
    return Backlog(sum(entries), max(ages))


class BadEntryError(ValueError):
    """A malformed entry, which no worker can ever store; the message says why."""


class Entry(NamedTuple):
    """One accepted creation: of a message, or of a chat when `chat_number` is None.

    `attributes` is empty if it has none.
    """

    entry_id: str
    access_token: str
    chat_number: int | None
    number: int
    body: str
    request_id: str
    attributes: str = ""

    @property
    def is_chat(self) -> bool:
        return self.chat_number is None

    @property
    def created_at(self) -> datetime:
        return created_at(self.entry_id)


def created_at(entry_id: str) -> datetime:
    """Return the time, in UTC, at which Redis generated an entry id."""
    return EPOCH + timedelta(milliseconds=int(entry_id.partition("-")[0]))


def age_seconds(entry_id: object, now: float) -> float:
    """Return how long before `now`, a Unix time, Redis generated an entry id."""
    text = entry_id.decode() if isinstance(entry_id, bytes) else str(entry_id)
    return max(0.0, now - created_at(text).timestamp())


def read_id(entry_id: bytes) -> EntryId:
    """Parse an entry's id into a tuple that compares."""
    milliseconds, _, counter = entry_id.decode().partition("-")
    return int(milliseconds), int(counter)


def encode(entry: Entry) -> dict[str, str]:
    """Return the fields of an entry as they are appended to the stream: text by name."""
    chat_number = "" if entry.chat_number is None else str(entry.chat_number)
    values = (entry.access_token, chat_number, str(entry.number), entry.body, entry.request_id)
    fields = dict(zip(FIELDS, values, strict=True))
    return fields | {ATTRIBUTES: entry.attributes} if entry.attributes else fields


def decode(entry_id: bytes, fields: Mapping[bytes, bytes]) -> Entry:
    """Build an entry from what Redis returns; raises BadEntryError on anything malformed."""
    try:
        token, chat, number, body, request_id = [fields[name] for name in _NAMES]
        return Entry(
            entry_id.decode(),
            token.decode(),
            int(chat) if chat else None,
            int(number),
            body.decode(),
            request_id.decode(),
            fields.get(_ATTRIBUTES, b"").decode(),
        )
    except (KeyError, ValueError) as error:
        raise BadEntryError(f"{type(error).__name__}: {error}") from error
