"""One connection: bytes in, whole requests to the application, answers out.

uvicorn runs it through its `http=` parameter, and provides the configuration, the
signals and the lifespan. One request is answered before the next is read.
"""

import asyncio
import logging
from time import perf_counter
from typing import Any, cast

from uvicorn import Config
from uvicorn.server import ServerState

from web.problems import InternalError, Overloaded, Problem, RequestTimeout
from web.server import asgi, limits
from web.server.answers import CONTINUE, problem_answer
from web.server.arrival import Arrival
from web.server.front import front_of
from web.server.head import Head, decode_path
from web.server.limits import LIMITS, Limits
from web.server.reader_watch import ReaderWatch
from web.server.request import Request
from web.server.writer import Writer

logger = logging.getLogger(__name__)


class Protocol(Writer):
    """Reads one request at a time, and passes it to the application."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        limits: Limits = LIMITS,
    ) -> None:
        loop = _loop or asyncio.get_running_loop()
        super().__init__(front_of(config, server_state, app_state, loop, limits), loop)
        self._arrival = Arrival()
        self._is_advancing = self._is_paused = False
        self._is_draining = False
        self._is_arriving = False  # a part of a request has arrived
        self._is_reused = False  # an idle timeout between two requests is not an error

    # The connection begins and ends.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=limits.UNREAD_BYTES_A_CONNECTION)
        seconds = self._front.limits.write_seconds
        self._watch = ReaderWatch(self._loop, self._transport, seconds)
        connections: set[Any] = self._front.state.connections
        connections.add(self)
        beyond = len(connections) - self._front.ceiling
        if beyond > limits.REFUSED_CONNECTIONS:
            self._transport.abort()
        elif beyond > 0:
            self._refuse(Overloaded())
        else:
            self._deadline.set(self._front.limits.read_seconds)

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
        """Keep the connection until what was asked before the client's half-close is answered.

        A client that is gone looks the same until something is written to it, so an answer
        without an end ends here: it would keep its place until then.
        """
        self._is_half_closed = True
        self._end_endless()
        if self._request is None and not self._is_advancing:
            self._close()  # the transport by itself would wait without limit for a client to read
        return True

    def shutdown(self) -> None:
        """Let an idle connection bring one more request, answered with `Connection: close`.

        A client that has just written a request when its connection is closed can't
        know whether it was read, so closing at once would look like an error to it.
        """
        self._is_draining = True
        self._keep_alive = False
        self._loop.call_later(limits.DRAIN_SECONDS, self._close_idle)
        seconds = limits.GRACE_SECONDS - limits.LINGER_SECONDS - 1
        self._loop.call_later(seconds, self._close_arriving)
        self._end_endless()

    @property
    def is_ending(self) -> bool:
        return self._is_draining or self._is_half_closed

    def _end_endless(self) -> None:
        if self._request is not None and self._request.on_shutdown is not None:
            self._request.on_shutdown()

    def _close_idle(self) -> None:
        if self._request is None and self._arrival.is_empty:
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
        elif self._arrival.is_in_body or self._is_free():
            self._take(data)
        else:
            self._arrival.keep(data)
            self._wait_for_turn()

    def _is_free(self) -> bool:
        """Whether the next request may be taken."""
        return self._request is None and not self._is_full and not self._is_advancing

    def _wait_for_turn(self) -> None:
        """Stop reading pipelined requests until the current one is answered."""
        self._pause_reading()
        if not self._front.arriving.hold(self, self._arrival.size):
            self.drop_upload()

    def _advance(self) -> None:
        """Go on to the next pipelined request."""
        self._is_advancing = False
        if self._is_free() and not self._is_lingering and not self._transport.is_closing():
            self._take()
            self._wait_for_more()

    def _wait_for_more(self) -> None:
        """Resume reading, unless the buffer holds pipelined data after the current request.

        What waits for a turn may be a whole request, the last one of a client that has ended its
        half.
        """
        if self._is_advancing or self._arrival.has_unread():
            return
        if self._request is None and self._is_half_closed:
            self._close()
        elif self._request is None or not self._arrival.buffer:
            self._resume_reading()

    def _take(self, data: bytes = b"") -> None:
        """Parse what has arrived, and dispatch the next request once it is complete."""
        try:
            whole = self._arrival.feed(data)
            if whole is not None:
                self._dispatch(whole.head, whole.body)
            elif not self._arrival.is_empty:
                self._expect_rest()
        except Problem as problem:
            self._refuse(problem)

    def _expect_rest(self) -> None:
        """Wait for the rest of a request, for `read_seconds` from its first piece."""
        if not self._is_arriving:
            self._is_arriving = True
            self._deadline.set(self._front.limits.read_seconds)
        if not self._front.arriving.hold(self, self._arrival.size):
            raise Overloaded
        if self._arrival.wants_continue:
            self._arrival.wants_continue = False
            self._transport.write(CONTINUE)
        if self._arrival.has_unread():
            self._pause_reading()
            kind = "chunks" if self._arrival.is_in_body else "heads"
            self._front.turns.wait(kind, self._read_on)

    def _read_on(self) -> None:
        """Read a long head that has arrived, or the next turn's chunks."""
        if self._arrival.has_unread() and not self._transport.is_closing():
            self._take()
            if not self._is_lingering:
                self._wait_for_more()

    def _dispatch(self, head: Head, body: bytes) -> None:
        """Pass a whole request to the application."""
        front = self._front
        front.arriving.release(self)
        if body:
            if not front.arriving.pin(len(body)):
                self._arrival.head = head
                raise Overloaded
            self._pinned = len(body)
        self._deadline.clear()
        self._is_arriving = False
        self._is_reused = True
        self._keep_alive = head.keep_alive and not self._is_draining
        request = self._request = Request(
            self,
            head.method,
            decode_path(head.raw_path),
            head.raw_path,
            head.query,
            head.version,
            head.headers,
            body,
            perf_counter(),
            head.size,
        )
        if self._arrival.buffer and not front.arriving.hold(self, self._arrival.size):
            self.drop_upload()
        try:
            if request.method == "OPTIONS" and front.answer_preflight(request):
                return
            if front.handle is not None and front.handle(request):
                return
        except Exception:
            logger.exception("a request failed", extra={"request_id": request.id})
            request.answer(500, *problem_answer(InternalError(), request.path, request.id))
            return
        self._run_application(request)

    def _run_application(self, request: Request) -> None:
        """Have the application answer a request, in a task."""
        transport, front = self._transport, self._front
        addresses = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        if front.respond is not None:
            answering = front.respond(request, addresses)
        else:
            answering = asgi.run(front.app, request, front.app_state, addresses)
        tasks = front.state.tasks
        task = self._loop.create_task(answering)
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
        return self._is_half_closed and not self._arrival.buffer

    def _forget_input(self) -> None:
        self._front.arriving.release(self)
        self._arrival.clear()

    def _refused_head(self) -> Head | None:
        return self._arrival.head

    def _refused_bytes(self) -> bytes:
        return self._arrival.buffer

    def _go_on(self) -> None:
        if self._is_lingering:
            return
        has_more = bool(self._arrival.buffer) or self._is_paused
        if not self._keep_alive or self._is_last():
            if has_more:
                self._linger()
            else:
                self._close()
            return
        self._deadline.set(self._front.limits.keep_alive_seconds)
        if has_more and not self._is_advancing:
            self._is_advancing = True
            self._loop.call_soon(self._advance)

    def _close_late(self) -> None:
        if self._is_lingering or (self._is_reused and not self._is_arriving):
            self._close()
        else:
            self._refuse(RequestTimeout())

    def drop_upload(self) -> None:
        """Make room for requests that make more progress."""
        if self._request is None:
            self._refuse(Overloaded())
        else:
            self._arrival.clear()
            self._keep_alive = False
