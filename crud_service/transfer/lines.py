"""The lines of an import: what each kind holds, checked as the API checks its input.

Producer: `crud_service.transfer.export`. A key that is not known is refused instead of dropped.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO, NamedTuple

import orjson

from contract.paths import MAX_NUMBER
from web.fields import (
    bad_reply_to,
    check_message_body,
    check_name,
    check_reply_to,
    check_sender,
    parse_json,
)
from web.metadata import check_metadata
from web.problems import MalformedBody, ValidationFailed

# The longest body in JSON's longest notation, and what surrounds it.
MAX_LINE_BYTES = 1024 * 1024
# Characters of a key that an error message quotes.
MAX_QUOTED = 40
# numbers.lua counts on from the highest number, in doubles: from 2^53 on, adding 1 changes nothing,
# and every creation would be answered with the same number. This leaves room to count on.
MAX_IMPORTED_NUMBER = 2**52
# How far the clock of the exporting service may be ahead. Each change of a message moves its time
# on, and with a time after the year 9999 it could not be read any more.
TOLERATED = timedelta(days=1)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT(?:[01]\d|2[0-3]):\d\d:\d\d\.\d{3}Z", re.ASCII)

Row = dict[str, Any]
Check = Callable[[object], Any]


class BadLineError(ValueError):
    """A line that cannot be imported; the message says why."""


class Line(NamedTuple):
    """A line: its kind, and the values to be stored."""

    kind: str
    row: Row


def check_number(value: object) -> int:
    if type(value) is int and 1 <= value <= MAX_IMPORTED_NUMBER:
        return value
    raise ValidationFailed("", f"Must be a whole number from 1 to {MAX_IMPORTED_NUMBER}.")


def check_count(value: object) -> int:
    if type(value) is int and 0 <= value <= MAX_NUMBER:
        return value
    raise ValidationFailed("", "Must be a whole number.")


def check_time(value: object) -> str:
    """Check a time as the API writes it, for PostgreSQL to parse."""
    if isinstance(value, str) and _TIME.fullmatch(value):
        with suppress(ValueError):
            if datetime.fromisoformat(value) <= datetime.now(UTC) + TOLERATED:
                return value
            raise ValidationFailed("", "Must be at most a day from now.")
    raise ValidationFailed("", "Must be a time such as 2022-08-09T22:17:52.599Z.")


@dataclass(frozen=True)
class Kind:
    """What lines of a type hold: required keys, keys that may be missing, keys to ignore.

    The ignored ones are derived: a token is made anew, and rows are counted. `deleted` is what
    lines with `deleted_at` hold.
    """

    required: Mapping[str, Check]
    optional: Mapping[str, Check] = field(default_factory=dict)
    ignored: frozenset[str] = frozenset()
    deleted: "Kind | None" = None

    def variant(self, fields: Row) -> "Kind":
        """Return the kind of a line with these fields: this one, or `deleted`."""
        return self.deleted if self.deleted is not None and "deleted_at" in fields else self


def check_empty(value: object) -> str:
    if value == "":
        return ""
    raise ValidationFailed("", "Must be empty in a deleted message.")


_TIMES = {"created_at": check_time, "updated_at": check_time}
_DELETED = {"number": check_number, **_TIMES, "deleted_at": check_time}
KINDS = {
    "application": Kind(
        {"name": check_name, **_TIMES}, ignored=frozenset({"access_token", "chat_count"})
    ),
    "chat": Kind(
        {"number": check_number, **_TIMES},
        {"name": check_name, "metadata": check_metadata},
        frozenset({"message_count"}),
        # Its messages are gone, so they cannot be counted.
        Kind({**_DELETED, "message_count": check_count}),
    ),
    "message": Kind(
        {"number": check_number, "body": check_message_body, **_TIMES},
        {"sender": check_sender, "metadata": check_metadata, "reply_to": check_reply_to},
        deleted=Kind({**_DELETED, "body": check_empty}),
    ),
    "end": Kind({"chats": check_count, "messages": check_count}),
}


def columns_of(kind: str) -> tuple[str, ...]:
    """Return the names of the values that lines of a kind may have."""
    return (*KINDS[kind].required, *KINDS[kind].optional, "deleted_at")


def parse_line(text: bytes) -> Line:
    """Parse a line as `read_lines` yields it; raise BadLineError."""
    if len(text) > MAX_LINE_BYTES:
        raise BadLineError(f"it is longer than {MAX_LINE_BYTES} bytes")
    try:
        # Nobody waits for an import's thread, so the line's length is limit enough.
        fields = dict(parse_json(text, orjson.loads, MAX_LINE_BYTES))
    except MalformedBody:
        cut = "" if text.endswith(b"\n") else "cut short, or "
        raise BadLineError(f"it is {cut}not valid JSON in UTF-8") from None
    except ValidationFailed:
        raise BadLineError("it is not a JSON object") from None
    name = fields.pop("type", None)
    kind = KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise BadLineError(f"its type is none of {', '.join(KINDS)}")
    return Line(str(name), check_fields(kind.variant(fields), fields))


def check_fields(kind: Kind, fields: Row) -> Row:
    """Return the values to be stored; raise BadLineError for an invalid one."""
    row = {name: check_field(name, check, fields) for name, check in kind.required.items()}
    for name, check in kind.optional.items():
        if name in fields:
            row[name] = check_field(name, check, fields)
    unknown = fields.keys() - row.keys() - kind.ignored
    if unknown:
        name = min(unknown)[:MAX_QUOTED]
        raise BadLineError(f"{name!r} is not a known key")
    return row


def check_field(name: str, check: Check, fields: Row) -> Any:
    if name not in fields:
        raise BadLineError(f"{name}: is required")
    try:
        return check(fields[name])
    except ValidationFailed as error:
        raise BadLineError(f"{name}: {error.errors[0]['message']}") from None


def read_lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield the lines of a file with their ends; of one that is too long, more than it may have."""
    return iter(lambda: file.readline(MAX_LINE_BYTES + 1), b"")


class LineOrder:
    """Checks the order of lines: the application, chats and their messages by number, the end."""

    def __init__(self) -> None:
        self.chats = 0
        self.messages = 0
        self.is_complete = False
        self._kind = ""
        self._chat = 0
        self._is_deleted = False
        self._message = 0

    def check(self, line: Line) -> None:
        """Check the next line; raise BadLineError if it does not follow those before."""
        kind, row = line
        if self.is_complete:
            raise BadLineError("it follows the line of type end")
        if (kind == "application") == bool(self._kind):
            raise BadLineError("the first line, and no other, must be the application")
        if kind == "chat":
            self._chat = follow(self._chat, row["number"])
            self._is_deleted = "deleted_at" in row
            self._message = 0
            self.chats += 1
        elif kind == "message":
            if not self._chat:
                raise BadLineError("it is a message before the first chat")
            if self._is_deleted:
                raise BadLineError("it is a message of a deleted chat")
            self._message = follow(self._message, row["number"])
            check_reply(row)
            self.messages += 1
        elif kind == "end":
            self._check_counts(row)
            self.is_complete = True
        self._kind = kind

    def _check_counts(self, row: Row) -> None:
        if (row["chats"], row["messages"]) != (self.chats, self.messages):
            raise BadLineError(
                f"it counts {row['chats']} chats and {row['messages']} messages, but there were "
                f"{self.chats} and {self.messages}"
            )


def check_reply(message: Row) -> None:
    """Raise BadLineError for a reply to a number that was not handed out before its own."""
    if message.get("reply_to", 0) >= message["number"]:
        raise BadLineError(f"reply_to: {bad_reply_to().errors[0]['message']}")


def follow(before: int, number: int) -> int:
    if number <= before:
        raise BadLineError(f"number {number} does not follow {before}")
    return number
