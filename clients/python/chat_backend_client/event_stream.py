"""Server-sent events (WHATWG HTML, 9.2.6), read chunk by chunk."""

import codecs
import re
from dataclasses import dataclass, field

# Not str.splitlines: that also splits at characters that JSON leaves in a text, like U+2028.
LINE_END = re.compile(r"\r\n|\n|\r")


@dataclass
class Event:
    """A block of the stream; `retry` is after how many seconds to connect again."""

    name: str = "message"
    id: str = ""
    data: list[str] = field(default_factory=list)
    retry: float | None = None


class EventStream:
    """The body of one response; an event that is cut off is dropped."""

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8-sig")("replace").decode
        self._rest = ""
        self._event = Event()

    def feed(self, chunk: bytes) -> list[Event]:
        """Return the events that are complete with this chunk."""
        text = self._rest + self._decode(chunk)
        # A return at the end may be half of a line end.
        held = "\r" if text.endswith("\r") else ""
        *lines, rest = LINE_END.split(text.removesuffix(held) if held else text)
        self._rest = rest + held
        return [event for line in lines if (event := self._take(line))]

    def _take(self, line: str) -> Event | None:
        if not line:
            event, self._event = self._event, Event()
            return event if event.data else None
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._event.data.append(value)
        elif name == "event":
            self._event.name = value
        elif name == "id":
            self._event.id = value
        elif name == "retry" and value.isascii() and value.isdecimal():
            self._event.retry = int(value) / 1000
        return None
