"""Cursors: how far a stream has been read."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from contract.paths import MAX_NUMBER
from crud_service.api.lists.list_request import NUMBER_CURSOR, parse_cursor
from web.problems import ValidationFailed

_EVENT_ID = re.compile(rf"({NUMBER_CURSOR})\.({NUMBER_CURSOR})", re.ASCII)
# The parameters of a stream of messages.
PARAMETERS = ("after", "last_event_id")

Query = Mapping[str, object]


class Cursor(NamedTuple):
    """All messages of a chat up to `number`, and all of its changes up to `change`."""

    number: int
    change: int

    def __str__(self) -> str:
        return f"{self.number}.{self.change}"


class Start(NamedTuple):
    """Where a stream shall start: behind these; None: at the end of what is stored."""

    number: int | None
    change: int | None

    def resolve(self, end: Cursor) -> Cursor | None:
        """Return the cursor to start from, None if it is ahead of the end of what is stored."""
        number = end.number if self.number is None else self.number
        change = end.change if self.change is None else self.change
        return Cursor(number, change) if number <= end.number and change <= end.change else None


def requested_start(last_event_id: str | None, query: Query) -> Start:
    """Return where a stream shall start: behind the last event id, else behind `after`, else now.

    The header `Last-Event-ID` comes before the query's `last_event_id`; an empty one counts as
    absent. Raises ValidationFailed (422) if one of them is malformed.
    """
    after = parse_cursor("after", query.get("after"), NUMBER_CURSOR)
    in_query = query.get("last_event_id")
    if last_event_id:
        return Start(*parse_event_id("Last-Event-ID", last_event_id))
    if in_query:
        return Start(*parse_event_id("last_event_id", in_query))
    return Start(None if after is None else int(after), None)


def parse_event_id(field: str, value: object) -> Cursor:
    """Parse an event's id; raise ValidationFailed (422) naming the field if it is malformed."""
    match = _EVENT_ID.fullmatch(value) if isinstance(value, str) else None
    if match is None or max(int(match[1]), int(match[2])) > MAX_NUMBER:
        raise ValidationFailed(field, "Must be the id of an event of this stream.")
    return Cursor(int(match[1]), int(match[2]))
