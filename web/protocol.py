"""One connection: bytes in, whole requests to the application, answers out.

uvicorn runs it by its `http=` parameter, and brings the configuration, the
signals and the lifespan. One request is answered before the next is read.
"""

import asyncio
import logging
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
from web.answers import CONTINUE, problem_answer
from web.body import Body, ChunkedBody, SizedBody
from web.front import front_of
from web.head import CHUNKED, Head, is_hopeless, parse_head, skip_empty_lines
from web.reader_watch import ReaderWatch
from web.request import Request
from web.writer import Writer

_END_OF_HEAD = b"\r\n\r\n"

logger = logging.getLogger(__name__)


class Protocol(Writer):
    """Reads one request at a time, and hands it over."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        loop = _loop or asyncio.get_running_loop()
        super().__init__(front_of(config, server_state, app_state), loop)
        # What is arriving.
        self._buffer = b""
        self._searched = 0  # of the buffer, without the end of a head
        self._head: Head | None = None
        self._body: Body | None = None
        # The connection.
        self._is_advancing = self._is_paused = False
        self._is_draining = False
        self._is_arriving = False  # a part of a request is there
        self._is_reused = False  # to be late between two requests is no fault

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
            self._deadline.set(limits.READ_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        connections: set[Any] = self._front.state.connections
        connections.discard(self)
        self._watch.stop()
        self._deadline.close()
        self._front.unread.release(self)
        self._forget_input()
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
        if self._buffer.startswith(b"\r\n"):
            self._buffer = skip_empty_lines(self._buffer)
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
        if length > limits.BODY_BYTES:
            self._buffer, self._head = b"", head
            raise BodyTooLarge
        if 0 <= length <= len(rest):
            self._buffer = rest[length:]
            self._dispatch(head, rest[:length])
            return
        self._buffer = b""
        self._head = head
        self._body = ChunkedBody() if length == CHUNKED else SizedBody(length)
        self._take_body(head, self._body, rest)
        if self._body is not None and head.expects_continue and not rest:
            self._transport.write(CONTINUE)

    def _keep_part_of_head(self) -> None:
        buffer = self._buffer
        if not buffer:
            return
        if len(buffer) > limits.HEAD_BYTES:
            raise HeadersTooLarge
        if is_hopeless(buffer, self._searched):
            raise MalformedRequest
        self._expect_rest()
        self._searched = max(len(buffer) - 3, 0)
        if not self._front.arriving.hold(self, len(buffer)):
            raise Overloaded

    def _expect_rest(self) -> None:
        """Give a request so many seconds from its first piece."""
        if not self._is_arriving:
            self._is_arriving = True
            self._deadline.set(limits.READ_SECONDS)

    def _take_body(self, head: Head, body: Body, data: bytes) -> None:
        rest = body.feed(data)
        if rest is None:
            self._expect_rest()
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
        self._deadline.clear()
        self._is_arriving = False
        self._is_reused = True
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

    def _is_last(self) -> bool:
        return self._is_half_closed and not self._buffer

    def _forget_input(self) -> None:
        self._front.arriving.release(self)
        self._buffer, self._head, self._body = b"", None, None

    def _refused_head(self) -> Head | None:
        return self._head

    def _go_on(self) -> None:
        if self._is_lingering:
            return
        has_more = bool(self._buffer) or self._is_paused
        if not self._keep_alive or self._is_last():
            if has_more:
                self._linger()
            else:
                self._close()
        elif not has_more:
            self._deadline.set(self._front.keep_alive_seconds)
        elif not self._is_advancing:
            self._is_advancing = True
            self._loop.call_soon(self._advance)

    def _close_late(self) -> None:
        if self._is_lingering or (self._is_reused and not self._is_arriving):
            self._close()
        else:
            self._refuse(RequestTimeout())

    def drop_upload(self) -> None:
        """Give way to requests that make more progress."""
        if self._request is None:
            self._refuse(Overloaded())
        else:
            self._buffer = b""
            self._keep_alive = False
