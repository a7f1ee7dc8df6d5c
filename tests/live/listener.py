"""One stream, read by a test as slowly or as fast as it wants to."""

import json
import socket
import time
from collections import deque
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

from httptools import HttpResponseParser

from tests.integration.conftest import CrudServer
from tests.live.event_stream import Event, EventStream

# Generous: what is claimed is that it comes by itself, on a busy machine too.
PATIENCE_SECONDS = 30.0
READ_BYTES = 64 * 1024


class Seen(NamedTuple):
    """What a test looks at in an event."""

    type: str
    id: str
    data: dict[str, Any]


class EndedError(Exception):
    """The connection has ended where something was still awaited."""


def seen(event: Event) -> Seen:
    return Seen(event.type, event.last_event_id, json.loads(event.data))


class Listener:
    """A connection to a stream; `lines` are further header lines.

    `is_half_closed` closes the sending half right behind the request. `buffer_bytes` is the size
    of its receive buffer where that is not to be the usual one.
    """

    def __init__(
        self,
        url: str,
        path: str,
        *lines: str,
        method: str = "GET",
        version: str = "1.1",
        buffer_bytes: int = 0,
        body: bytes = b"",
        is_half_closed: bool = False,
    ) -> None:
        parts = urlsplit(url)
        self.headers: dict[str, str] = {}
        self.body = b""
        self.is_complete = False
        self.events: deque[Event] = deque()
        self.stream = EventStream()
        self._parser = HttpResponseParser(self)
        self._has_head = False
        self._socket = socket.socket()
        if buffer_bytes:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        self._socket.connect((parts.hostname, parts.port))
        if body:
            lines = (*lines, f"Content-Length: {len(body)}")
        head = [f"{method} {path} HTTP/{version}", "Host: crud", *lines, "", ""]
        self._socket.sendall("\r\n".join(head).encode() + body)
        if is_half_closed:
            self._socket.shutdown(socket.SHUT_WR)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    @property
    def status(self) -> int:
        """The status of the response, once its head is there."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self._has_head:
            self._read_more(deadline)
        return int(self._parser.get_status_code())

    def next(self, seconds: float = PATIENCE_SECONDS) -> Seen:
        """Return the next event."""
        deadline = time.monotonic() + seconds
        while not self.events:
            self._read_more(deadline)
        return seen(self.events.popleft())

    def take(self, count: int) -> list[Seen]:
        return [self.next() for _ in range(count)]

    def quiet(self, seconds: float) -> bool:
        """Whether no event comes for some time."""
        deadline = time.monotonic() + seconds
        try:
            while not self.events and self.read(deadline - time.monotonic()):
                pass
        except TimeoutError:
            return True
        return False

    def rest(self, seconds: float = PATIENCE_SECONDS) -> list[Seen]:
        """Return the events up to the end of the response."""
        deadline = time.monotonic() + seconds
        while not self.is_complete and self.read(deadline - time.monotonic()):
            pass
        rest = [seen(event) for event in self.events]
        self.events.clear()
        return rest

    def _read_more(self, deadline: float) -> None:
        try:
            if self.read(deadline - time.monotonic()):
                return
        except ConnectionResetError:
            pass
        raise EndedError(self.body[-1000:])

    def read(self, seconds: float, size: int = READ_BYTES) -> bool:
        """Read once; False when the connection has ended."""
        if seconds <= 0:
            raise TimeoutError("nothing came in time")
        self._socket.settimeout(seconds)
        received = self._socket.recv(size)
        if received:
            self._parser.feed_data(received)
        return bool(received)

    def is_left_by(self, server: CrudServer) -> bool:
        """Return whether the server has ended the connection, without reading from it."""
        return not server.is_connected(self._socket)

    # What the parser finds.

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode().lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._has_head = True

    def on_body(self, body: bytes) -> None:
        self.body += body
        if self.headers.get("content-type", "").startswith("text/event-stream"):
            self.events.extend(self.stream.feed(body))

    def on_message_complete(self) -> None:
        self.is_complete = True
