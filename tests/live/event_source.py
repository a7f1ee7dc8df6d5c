"""A browser's EventSource on an event loop, thousands of which fit into a process.

Like a browser it reconnects after the time that the server named, with the last id in a header,
whatever ended the connection; and like a browser it gives up on anything but 200 and
`text/event-stream`. What a page can do then is to open a new one with the id in the query.
"""

import asyncio
from typing import Protocol, cast

from httptools import HttpParserError, HttpResponseParser

from tests.live.event_stream import Event, EventStream

# What Chromium takes as long as the server names nothing else.
RETRY_MS = 3000


class Owner(Protocol):
    """Receives what happens on an event source."""

    def opened(self, sent_id: str) -> None: ...
    def received(self, event: Event) -> None: ...
    def ended(self, *, truncated: bool) -> None: ...
    def refused(self, status: int) -> None: ...


class EventSource:
    """One event source; it connects until it is closed or refused."""

    def __init__(self, port: int, path: str, owner: Owner) -> None:
        self.last_event_id = ""
        self.retry_ms = RETRY_MS
        self._port, self._path, self._owner = port, path, owner
        self._response: Response | None = None
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._timer: asyncio.Handle = self._loop.call_soon(self._start)

    @property
    def is_open(self) -> bool:
        return self._response is not None and self._response.is_events

    def close(self) -> None:
        """Close for good."""
        self._closed = True
        self._timer.cancel()
        self.drop()

    def drop(self) -> None:
        """Lose the connection, as a laptop does whose lid is closed."""
        if self._response is not None and self._response.transport is not None:
            self._response.transport.abort()

    def _start(self) -> None:
        self._task = self._loop.create_task(self._connect())

    async def _connect(self) -> None:
        try:
            await self._loop.create_connection(lambda: Response(self), "127.0.0.1", self._port)
        except OSError:
            self._again()

    def _again(self) -> None:
        if not self._closed:
            self._timer = self._loop.call_later(self.retry_ms / 1000, self._start)

    def begin(self, response: "Response") -> bytes:
        """Take a new connection; return the request that a browser would send on it."""
        self._response = response
        lines = [f"GET {self._path} HTTP/1.1", f"Host: 127.0.0.1:{self._port}"]
        lines += ["Connection: keep-alive", "Accept: text/event-stream", "Cache-Control: no-cache"]
        lines += [f"Last-Event-ID: {self.last_event_id}"] if self.last_event_id else []
        return "\r\n".join([*lines, "", ""]).encode()

    def connected(self) -> None:
        self._owner.opened(self.last_event_id)

    def received(self, event: Event) -> None:
        self._owner.received(event)

    def refused(self, status: int) -> None:
        """Give up, as the rules demand."""
        self.close()
        self._owner.refused(status)

    def lost(self, response: "Response") -> None:
        """Connect again after the reconnection time."""
        if self._response is not response:
            return
        was_open, self._response = response.is_events, None
        if was_open:
            self._owner.ended(truncated=response.is_truncated)
        self._again()


class Response(asyncio.Protocol):
    """One connection of an event source, and the response on it."""

    def __init__(self, source: EventSource) -> None:
        self.transport: asyncio.Transport | None = None
        self.is_events = False
        self.is_truncated = False
        self._source = source
        self._parser = HttpResponseParser(self)
        self._content_type = b""
        self._stream = EventStream(source.last_event_id)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have its methods and are none of its subclasses.
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(self._source.begin(self))

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except HttpParserError:
            self._end(truncated=True)

    def connection_lost(self, _: Exception | None) -> None:
        self._source.lost(self)

    # What the parser finds.

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"content-type":
            self._content_type = value

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status != 200 or self._content_type.partition(b";")[0] != b"text/event-stream":
            self._source.refused(status)
            return
        self.is_events = True
        self._source.connected()

    def on_body(self, body: bytes) -> None:
        if not self.is_events:
            return
        for event in self._stream.feed(body):
            self._source.received(event)
        self._source.last_event_id = self._stream.last_event_id
        if self._stream.retry_ms is not None:
            self._source.retry_ms = self._stream.retry_ms

    def on_message_complete(self) -> None:
        self._end(truncated=not self._stream.is_between_events)

    def _end(self, *, truncated: bool) -> None:
        """The server ended the response; the connection is of no more use."""
        self.is_truncated = truncated and self.is_events
        if self.transport is not None:
            self.transport.abort()
