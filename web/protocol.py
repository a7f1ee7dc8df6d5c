"""One connection: bytes in, whole requests to the application, answers out.

uvicorn runs it by its `http=` parameter, and brings the configuration, the
signals and the lifespan. One request is answered before the next is read.
"""

import asyncio
import logging
import math
from time import perf_counter
from typing import Any, cast
from urllib.parse import unquote

from uvicorn import Config
from uvicorn.server import ServerState

from contract.problems import (
    BodyTooLarge,
    HeadersTooLarge,
    InternalError,
    MalformedRequest,
    Overloaded,
    Problem,
    RequestTimeout,
)
from web import asgi, limits
from web.answers import (
    BODILESS,
    CHUNKED_LINE,
    CLOSE,
    CONTINUE,
    KEEP_ALIVE,
    STATUS_LINES,
    problem_answer,
)
from web.body import Body, ChunkedBody, SizedBody
from web.front import front_of
from web.head import CHUNKED, Head, is_hopeless, parse_head
from web.reader_watch import ReaderWatch
from web.request import Request, id_of, known_method

_END_OF_HEAD = b"\r\n\r\n"

logger = logging.getLogger(__name__)


class Protocol(asyncio.Protocol):
    """Reads one request at a time, and writes its answer."""

    _transport: asyncio.Transport
    _watch: ReaderWatch

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._front = front_of(config, server_state, app_state)
        self._loop = _loop or asyncio.get_running_loop()
        # What is arriving.
        self._buffer = b""
        self._searched = 0  # of the buffer, without the end of a head
        self._head: Head | None = None
        self._body: Body | None = None
        # What is being answered.
        self._request: Request | None = None
        self._keep_alive = True
        self._pinned = 0
        self._is_begun = self._is_chunked = self._is_silent = False
        self._length_left: int | None = None
        self._room: asyncio.Future[None] | None = None
        # The connection.
        self._is_advancing = self._is_paused = self._is_full = False
        self._is_draining = self._is_half_closed = False
        self._is_lingering = False
        self._droppable = limits.LINGER_BYTES
        self._is_late_a_timeout = True
        self._deadline = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf

    # The connection begins and ends.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=limits.UNREAD_BYTES_A_CONNECTION)
        self._watch = ReaderWatch(self._loop, self._transport)
        connections: set[Any] = self._front.state.connections
        connections.add(self)
        beyond = len(connections) - self._front.ceiling
        if beyond > limits.REFUSED_CONNECTIONS:
            self._transport.abort()
        elif beyond > 0:
            self._refuse(Overloaded())
        else:
            self._set_deadline(limits.READ_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        connections: set[Any] = self._front.state.connections
        connections.discard(self)
        self._watch.stop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._front.arriving.release(self)
        self._front.unread.release(self)
        self._buffer, self._head, self._body = b"", None, None
        request = self._request
        if request is not None:
            on_disconnect = request.on_disconnect
            self._leave_request(request)
            if on_disconnect is not None:
                on_disconnect()

    def eof_received(self) -> bool:
        """Answer what was asked before the client closed its half of the connection."""
        self._is_half_closed = True
        return self._request is not None or self._is_advancing

    def shutdown(self) -> None:
        """Let an idle connection bring one more request, answered with `Connection: close`.

        A client that has just written a request when its connection is closed
        can't know if it was read, so closing at once would show as an error.
        """
        self._is_draining = True
        self._keep_alive = False
        self._loop.call_later(limits.DRAIN_SECONDS, self._close_idle)
        self._loop.call_later(limits.GRACE_SECONDS - 1, self._close_arriving)

    def _close_idle(self) -> None:
        if self._request is None and self._body is None and not self._buffer:
            self._close()

    def _close_arriving(self) -> None:
        if self._request is None:
            self._refuse(RequestTimeout())

    def _close(self) -> None:
        """Close once the client has taken everything, or takes nothing any more."""
        if not self._transport.is_closing():
            self._transport.close()
            if self._transport.get_write_buffer_size():
                self._watch.start()

    # Reading.

    def data_received(self, data: bytes) -> None:
        if self._is_lingering:
            self._droppable -= len(data)
            if self._droppable < 0:
                self._close()
            return
        try:
            if self._head is not None and self._body is not None:
                self._take_body(self._head, self._body, data)
                return
            self._buffer = self._buffer + data if self._buffer else data
            if self._request is None and not self._is_full and not self._is_advancing:
                self._take_request()
            else:
                self._wait_for_turn()
        except Problem as problem:
            self._refuse(problem)

    def _wait_for_turn(self) -> None:
        """Read no more of pipelined requests before the last one was answered."""
        self._pause_reading()
        if not self._front.arriving.hold(self, len(self._buffer)):
            self.drop_upload()

    def _advance(self) -> None:
        """Go on to the next of pipelined requests."""
        self._is_advancing = False
        if self._request is not None or self._is_full or self._is_lingering:
            return
        if self._transport.is_closing():
            return
        try:
            self._take_request()
        except Problem as problem:
            self._refuse(problem)
        self._wait_for_more()

    def _wait_for_more(self) -> None:
        """Read on, unless there is more in the buffer than what is being read of a request."""
        if self._is_advancing:
            return
        if self._request is None and self._is_half_closed:
            self._close()
        elif self._request is None or not self._buffer:
            self._resume_reading()

    def _take_request(self) -> None:
        """Take the next request out of the buffer, as far as it has arrived."""
        self._skip_empty_lines()
        buffer = self._buffer
        end = buffer.find(_END_OF_HEAD, self._searched)
        if end < 0:
            self._keep_part_of_head()
            return
        if end + 4 > limits.HEAD_BYTES:
            raise HeadersTooLarge
        head = parse_head(buffer[: end + 4])
        rest = buffer[end + 4 :]
        self._searched = 0
        length = head.length
        if 0 <= length <= len(rest):
            self._buffer = rest[length:]
            self._dispatch(head, rest[:length])
            return
        self._buffer = b""
        self._head = head
        if length > limits.BODY_BYTES:
            raise BodyTooLarge
        self._body = ChunkedBody() if length == CHUNKED else SizedBody(length)
        self._take_body(head, self._body, rest)
        if self._body is not None and head.expects_continue and not rest:
            self._transport.write(CONTINUE)

    def _skip_empty_lines(self) -> None:
        """Skip empty lines in front of a request, as RFC 9112 asks for."""
        if self._searched == 0 and self._buffer.startswith(b"\r\n"):
            rest = self._buffer.lstrip(b"\r\n")
            skipped = self._buffer[: len(self._buffer) - len(rest)]
            if skipped.endswith(b"\r") and not rest:
                skipped, rest = skipped[:-1], b"\r"
            if skipped.count(b"\r\n") * 2 != len(skipped):
                raise MalformedRequest
            self._buffer = rest

    def _keep_part_of_head(self) -> None:
        buffer = self._buffer
        if not buffer:
            return
        if len(buffer) > limits.HEAD_BYTES:
            raise HeadersTooLarge
        if is_hopeless(buffer, self._searched):
            raise MalformedRequest
        if self._searched == 0:
            self._is_late_a_timeout = True
            self._set_deadline(limits.READ_SECONDS)
        self._searched = max(len(buffer) - 3, 0)
        if not self._front.arriving.hold(self, len(buffer)):
            raise Overloaded

    def _take_body(self, head: Head, body: Body, data: bytes) -> None:
        rest = body.feed(data)
        if rest is None:
            if not self._is_late_a_timeout:
                self._is_late_a_timeout = True
                self._set_deadline(limits.READ_SECONDS)
            if not self._front.arriving.hold(self, len(body.data)):
                raise Overloaded
            return
        self._head = self._body = None
        self._buffer = rest
        self._dispatch(head, bytes(body.data))

    def _dispatch(self, head: Head, body: bytes) -> None:
        """Hand a whole request to the application."""
        front = self._front
        front.arriving.release(self)
        if body:
            if not front.arriving.pin(len(body)):
                self._head = head
                raise Overloaded
            self._pinned = len(body)
        self._deadline = math.inf
        self._is_late_a_timeout = False
        self._keep_alive = head.keep_alive and not self._is_draining
        raw_path = head.raw_path
        path = raw_path.decode("ascii")
        request = self._request = Request(
            self,
            head.method,
            unquote(path) if "%" in path else path,
            raw_path,
            head.query,
            head.version,
            head.headers,
            body,
            perf_counter(),
        )
        front.state.total_requests += 1
        if self._buffer and not front.arriving.hold(self, len(self._buffer)):
            self.drop_upload()
        try:
            if front.handle is not None and front.handle(request):
                return
        except Exception:
            logger.exception("a request failed")
            request.answer(500, *problem_answer(InternalError(), request.path, request.id))
            return
        self._run_asgi(request)

    def _run_asgi(self, request: Request) -> None:
        transport, tasks = self._transport, self._front.state.tasks
        addresses = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        state = self._front.app_state
        task = self._loop.create_task(asgi.run(self._front.app, request, state, addresses))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    def _pause_reading(self) -> None:
        if not self._is_paused and not self._transport.is_closing():
            self._is_paused = True
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._is_paused and not self._transport.is_closing():
            self._is_paused = False
            self._transport.resume_reading()

    # Time.

    def _set_deadline(self, seconds: float) -> None:
        """Expect something within so many seconds; a timer that runs already is kept."""
        deadline = self._deadline = self._loop.time() + seconds
        if self._timer is None or self._timer_at > deadline:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = deadline
            self._timer = self._loop.call_at(deadline, self._check_deadline)

    def _check_deadline(self) -> None:
        self._timer = None
        left = self._deadline - self._loop.time()
        if left == math.inf:
            return
        if left > 0.001:
            self._set_deadline(left)
        elif self._is_lingering or not self._is_late_a_timeout:
            self._close()
        else:
            self._refuse(RequestTimeout())

    # Refusing.

    def _refuse(self, problem: Problem) -> None:
        """Answer a request that no application gets to see, and close the connection."""
        if self._transport.is_closing() or self._is_lingering:
            return
        head = self._head
        request_id = id_of([] if head is None else head.headers)
        path = "/" if head is None else head.raw_path.decode("ascii")
        headers, body = problem_answer(problem, path, request_id)
        if head is not None and head.method == "HEAD":
            body = b""
        if self._front.note_refusal is not None:
            method = "other" if head is None else known_method(head.method)
            self._front.note_refusal(request_id, method, problem.status)
        status = STATUS_LINES[problem.status]
        self._transport.write(
            b"".join((status, headers, self._front.default_lines(), CLOSE, b"\r\n", body))
        )
        self._linger()

    def _linger(self) -> None:
        """Close, with time for the client to read the answer while it is still sending."""
        self._front.arriving.release(self)
        self._buffer, self._head, self._body = b"", None, None
        self._is_lingering = True
        if self._is_half_closed:
            self._close()
            return
        self._transport.write_eof()
        self._resume_reading()
        self._set_deadline(limits.LINGER_SECONDS)

    def drop_upload(self) -> None:
        """Give way to requests that make more progress."""
        if self._request is None:
            self._refuse(Overloaded())
        else:
            self._buffer = b""
            self._keep_alive = False

    # Writing.

    def answer(self, status: int, headers: bytes, body: bytes) -> None:
        request, transport = self._request, self._transport
        if request is None or transport.is_closing():
            return
        if self._is_begun:
            self.abort()
            return
        lines = (STATUS_LINES[status], headers, self._front.default_lines(), self._persistence())
        if request.method == "HEAD":
            body = b""
        if len(body) > limits.UNREAD_BYTES_A_CONNECTION:
            transport.writelines((b"".join((*lines, b"\r\n")), body))
        else:
            transport.write(b"".join((*lines, b"\r\n", body)))
        self._finish(request)

    def begin(self, status: int, headers: bytes, length: int | None) -> None:
        request, transport = self._request, self._transport
        if request is None or transport.is_closing() or self._is_begun:
            return
        self._is_begun = True
        self._is_silent = request.method == "HEAD" or status in BODILESS
        self._is_chunked = length is None and not self._is_silent and request.version == "1.1"
        self._length_left = None if self._is_silent else length
        if length is None and not self._is_silent and request.version == "1.0":
            self._keep_alive = False  # the end of the connection is the end of the answer
        framing = CHUNKED_LINE if self._is_chunked else b""
        lines = (headers, framing, self._front.default_lines(), self._persistence())
        transport.write(b"".join((STATUS_LINES[status], *lines, b"\r\n")))

    def write(self, chunk: bytes) -> None:
        if not chunk or self._is_silent or self._transport.is_closing():
            return
        if self._is_chunked:
            self._transport.writelines((b"%x\r\n" % len(chunk), chunk, b"\r\n"))
            return
        if self._length_left is not None:
            self._length_left -= len(chunk)
            if self._length_left < 0:
                self.abort()
                return
        self._transport.write(chunk)

    def end(self) -> None:
        request = self._request
        if request is None or self._transport.is_closing():
            return
        if not self._is_begun or self._length_left:
            self.abort()  # the client must not wait for what never comes
            return
        if self._is_chunked:
            self._transport.write(b"0\r\n\r\n")
        self._finish(request)

    def abort(self) -> None:
        self._transport.abort()

    async def writable(self) -> None:
        if self._is_full and not self._transport.is_closing():
            if self._room is None or self._room.done():
                self._room = self._loop.create_future()
            await self._room

    def _persistence(self) -> bytes:
        """The line that says whether the connection goes on; none where that is understood."""
        if self._is_half_closed and not self._buffer:
            self._keep_alive = False
        if not self._keep_alive:
            return CLOSE
        request = self._request
        return KEEP_ALIVE if request is not None and request.version == "1.0" else b""

    def _finish(self, request: Request) -> None:
        """Go on to the next request, or close."""
        self._leave_request(request)
        if not self._keep_alive:
            if self._buffer or self._is_paused:
                self._linger()
            else:
                self._close()
        elif self._buffer or self._is_paused:
            if not self._is_advancing:
                self._is_advancing = True
                self._loop.call_soon(self._advance)
        else:
            self._set_deadline(self._front.keep_alive_seconds)

    def _leave_request(self, request: Request) -> None:
        self._request = None
        self._is_begun = False
        if self._pinned:
            self._front.arriving.unpin(self._pinned)
            self._pinned = 0
        if self._room is not None:
            if not self._room.done():
                self._room.set_result(None)
            self._room = None
        request.detach()

    def pause_writing(self) -> None:
        self._is_full = True
        self._watch.start()
        if not self._front.unread.hold(self, self._transport.get_write_buffer_size()):
            self.abort()

    def resume_writing(self) -> None:
        self._is_full = False
        self._watch.stop()
        self._front.unread.release(self)
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        if self._request is None and not self._is_advancing and (self._buffer or self._is_paused):
            self._is_advancing = True
            self._loop.call_soon(self._advance)

    def drop_reader(self) -> None:
        """Give way to clients that read."""
        self.abort()
