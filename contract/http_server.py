"""The HTTP server: uvicorn, with the answers and limits that it leaves to us."""

import asyncio
import fcntl
import re
import struct
import termios
from collections.abc import Awaitable, Callable, MutableMapping, Sized
from functools import partial
from typing import Any

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from contract.problems import (
    CONTENT_TYPE,
    BodyTooLarge,
    HeadersTooLarge,
    MalformedRequest,
    Problem,
    RequestTimeout,
)
from contract.request_id import HEADER, request_id

# ASGI's own types.
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

MAX_HEAD_BYTES = 64 * 1024
SLICE_BYTES = 8 * 1024
# A body of the longest, in chunks of a byte each, takes six times its size.
MAX_MESSAGE_BYTES = 8 * 1024 * 1024
READ_SECONDS = 30
# How long a client that does not read may keep us from sending more.
WRITE_SECONDS = 20
DRAIN_SECONDS = 1.5
GRACE_SECONDS = 8

_INT = struct.Struct("i")
_UPGRADE = re.compile(rb"(?i)\r\nupgrade[ \t]*:")

# An ASGI extension of ours: answer with bytes that are rendered already.
RESPOND = "chat.respond"


async def respond(cycle: RequestResponseCycle, status: int, headers: bytes, body: bytes) -> None:
    """Send a whole response at once.

    `headers` are complete lines, the length of the body among them. ASGI's own
    two messages a response are taken apart, checked by two regular expressions
    a header and put together again, which took a third of a creation's time;
    all that goes in here is ours.
    """
    # The scope holds this function and so the cycle, whose the scope is: left
    # alone, each request would be garbage that only the collector can find.
    del cycle.scope["extensions"]
    if cycle.flow.write_paused and not cycle.disconnected:
        await cycle.flow.drain()
    if cycle.disconnected:
        return
    cycle.response_started = cycle.response_complete = True
    close = b"" if cycle.keep_alive else b"connection: close\r\n"
    date = b"".join(b"%s: %s\r\n" % header for header in cycle.default_headers)
    cycle.transport.write(b"".join((STATUS_LINE[status], headers, date, close, b"\r\n", body)))
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()


class Flow(FlowControl):
    """Reads on only when no request waits for its turn: a client may not pipeline without end."""

    def __init__(self, transport: asyncio.Transport, waiting: Sized) -> None:
        super().__init__(transport)
        self._waiting = waiting

    def resume_reading(self) -> None:
        if not self._waiting:
            super().resume_reading()


class Protocol(HttpToolsProtocol):
    """One connection.

    Adds to uvicorn's: problem documents for what is not HTTP, a bound on the
    size of the headers, bounds on the time a request may take to arrive and a
    client may take no more of its answer, and a stop that cuts off no client
    in the middle of its next request.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_head = self._arriving = False
        self._bytes = 0
        self._draining = False
        self._deadline: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._running: RequestResponseCycle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = Flow(transport, self.pipeline)
        self._start_clock()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_clock()
        self._stop_waiting_for_reader()
        super().connection_lost(exc)
        # uvicorn tells the newest request alone.
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()

    def eof_received(self) -> bool:  # type: ignore[override]
        """A client may close its half behind a whole request, and read on."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete or cycle.more_body:
            return False
        cycle.keep_alive = False
        return True

    def pause_writing(self) -> None:
        super().pause_writing()
        self._wait_for_reader(self._unread_bytes())

    def resume_writing(self) -> None:
        self._stop_waiting_for_reader()
        super().resume_writing()

    def _wait_for_reader(self, left: int) -> None:
        self._unread = self.loop.call_later(WRITE_SECONDS, self._hang_up_unless_read, left)

    def _hang_up_unless_read(self, left: int) -> None:
        """Slow is fine, as long as something is read."""
        now_left = self._unread_bytes()
        if now_left < left:
            self._wait_for_reader(now_left)
        else:
            self.transport.abort()

    def _unread_bytes(self) -> int:
        """What is left of an answer here, and in the system, which buffers megabytes."""
        connection = self.transport.get_extra_info("socket")
        (in_system,) = _INT.unpack(fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, b"\0" * 4))
        return self.transport.get_write_buffer_size() + int(in_system)

    def _stop_waiting_for_reader(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def data_received(self, data: bytes) -> None:
        if b"pgrade" in data or b"PGRADE" in data:
            data = self._without_upgrade(data)
        if len(data) > SLICE_BYTES:
            for start in range(0, len(data), SLICE_BYTES):
                self._take(data[start : start + SLICE_BYTES])
        else:
            self._take(data)

    def _take(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        super().data_received(data)
        # A request that arrives in one piece, as nearly all do, starts no clock.
        if self._arriving and self._deadline is None:
            self._start_clock()
        # Still in the head: all of this was part of it, and the rest may fill a slice more.
        self._bytes += len(data)
        if self._in_head and self._bytes > MAX_HEAD_BYTES - SLICE_BYTES:
            self._refuse(HeadersTooLarge())
        elif self._bytes > MAX_MESSAGE_BYTES:
            # The words beside the chunks, and the headers behind them, have no end of their own.
            self._refuse(BodyTooLarge())

    def _without_upgrade(self, data: bytes) -> bytes:
        """The same without the wish for another protocol, which we may ignore.

        The parser would skip the body of such a request; Java's client wishes
        for HTTP/2 whenever it opens a connection.
        """
        if not self._in_head and self.cycle is not None and self.cycle.more_body:
            return data
        head, end, rest = data.partition(b"\r\n\r\n")
        return _UPGRADE.sub(b"\r\nX-Grade:", head) + end + rest

    def on_message_begin(self) -> None:
        self._in_head, self._bytes = True, 0
        self._arriving = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()
        # Headers behind a body are nobody's: they must not join those in front.
        self.headers = []
        if self._draining:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        self._arriving = False
        if self._deadline is not None:
            self._stop_clock()
        super().on_message_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        extensions: dict[str, Any] = {RESPOND: partial(respond, cycle)}
        cycle.scope["extensions"] = extensions
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def send_400_response(self, msg: str) -> None:
        self._refuse(MalformedRequest())

    def shutdown(self) -> None:
        """Let an idle connection bring one more request, answered with `Connection: close`.

        A client that has just written a request when its connection is closed
        cannot know if it was read, so closing at once would show as an error.
        """
        self._draining = True
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False
        self.loop.call_later(DRAIN_SECONDS, self._close_idle)
        self.loop.call_later(GRACE_SECONDS - 1, self._close_arriving)

    def _close_idle(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()

    def _close_arriving(self) -> None:
        if self.cycle is not None and self.cycle.more_body:
            self._refuse(RequestTimeout())

    def _start_clock(self) -> None:
        self._deadline = self.loop.call_later(READ_SECONDS, self._time_out)

    def _time_out(self) -> None:
        self._refuse(RequestTimeout())

    def _stop_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self, problem: Problem) -> None:
        """Answer and close, unless an answer to this request is on its way already."""
        cycle: RequestResponseCycle | None = self.cycle
        if self.pipeline and cycle is not None and cycle.more_body:
            self.pipeline.popleft()  # the one refused; those before it go on
            cycle = self.pipeline[0][0] if self.pipeline else self._running
        if cycle is not None and not cycle.response_complete and not cycle.more_body:
            # What comes behind a whole request must not take the place of its answer.
            cycle.keep_alive = False
            self.flow.pause_reading()
            return
        answering = cycle is not None and cycle.response_started and not cycle.response_complete
        if not self.transport.is_closing() and not answering:
            self.transport.write(raw_answer(problem))
        self.transport.close()


def raw_answer(problem: Problem) -> bytes:
    """A whole HTTP/1.1 response for a request that no application gets to see."""
    known_by = request_id(None)
    body = problem.render("/", known_by)
    headers = {
        "content-type": CONTENT_TYPE,
        "content-length": str(len(body)),
        "connection": "close",
        HEADER.lower(): known_by,
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return STATUS_LINE[problem.status] + lines.encode() + b"\r\n" + body
