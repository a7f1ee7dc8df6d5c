"""Server-sent events, read to the letter of the WHATWG's rules (HTML, 9.2.6).

The rules are followed where they are strict, too: an id counts once its block has ended, a
block without an id resets the last one at the start of a response, and what stands behind the
last blank line of a response is dropped.
"""

import re
from dataclasses import dataclass

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
LINE_END = re.compile(rb"\r\n|\n|\r")


@dataclass(frozen=True, slots=True)
class Event:
    """A dispatched event."""

    type: str
    data: str
    last_event_id: str


class EventStream:
    """The body of one response.

    `last_event_id` is what the next request would send, `retry_ms` the reconnection time if
    the response named one.
    """

    def __init__(self, last_event_id: str = "") -> None:
        self.last_event_id = last_event_id
        self.retry_ms: int | None = None
        self.comments = 0
        self._is_first_line = True
        self._rest = b""
        self._ends_in_return = False
        self._start_block()
        self._id = ""

    def _start_block(self) -> None:
        self._type = ""
        self._data: list[str] = []

    @property
    def is_between_events(self) -> bool:
        """Whether nothing would be lost if the response ended here."""
        return not self._rest and not self._data and not self._type

    def feed(self, received: bytes) -> list[Event]:
        """Return the events that end in these bytes."""
        if self._ends_in_return and received:
            received = received.removeprefix(b"\n")
            self._ends_in_return = False
        if not received:
            return []
        *lines, self._rest = LINE_END.split(self._rest + received)
        self._ends_in_return = received.endswith(b"\r")
        return [event for line in lines if (event := self._take(line)) is not None]

    def _take(self, line: bytes) -> Event | None:
        if self._is_first_line:
            self._is_first_line = False
            line = line.removeprefix(BYTE_ORDER_MARK)
        if not line:
            return self._dispatch()
        name, _, value = line.decode("utf-8", "replace").partition(":")
        self._set(name, value.removeprefix(" "))
        return None

    def _set(self, name: str, value: str) -> None:
        """Process a field; a name that is empty is a comment, an unknown one is ignored."""
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._type = value
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            self.retry_ms = int(value)
        elif name == "":
            self.comments += 1

    def _dispatch(self) -> Event | None:
        self.last_event_id = self._id
        kind, data = self._type, "\n".join(self._data)
        has_data = bool(self._data)
        self._start_block()
        return Event(kind or "message", data, self.last_event_id) if has_data else None
