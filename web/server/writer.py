"""The writing half of a connection: whole answers, streams, and clients that stop reading."""

import asyncio
from contextlib import suppress
from socket import SO_SNDBUF, SOL_SOCKET

from web.problems import Problem
from web.server import limits
from web.server.answers import (
    BODILESS,
    CHUNKED_LINE,
    CLOSE,
    KEEP_ALIVE,
    STATUS_LINES,
    problem_answer,
)
from web.server.deadline import Deadline
from web.server.front import Front
from web.server.head import Head, decode_path
from web.server.reader_watch import ReaderWatch
from web.server.request import Request, id_of, known_method


class Writer:
    """Answers the request that the reading half has dispatched.

    With its subclass it has all methods of an `asyncio.Protocol`, but not that base, which would
    make the compiled class as slow as an interpreted one.
    """

    _transport: asyncio.Transport
    _watch: ReaderWatch

    def __init__(self, front: Front, loop: asyncio.AbstractEventLoop) -> None:
        self._front = front
        self._loop = loop
        self._request: Request | None = None
        self._keep_alive = True
        self._pinned = 0  # bytes of the current request's body
        # The state of an answer that has begun.
        self._is_begun = self._is_chunked = self._is_silent = False
        self._length_left: int | None = None
        # The connection is closing: incoming data is dropped, up to a size and a time limit.
        self._is_lingering = self._is_half_closed = False
        self._droppable = limits.LINGER_BYTES
        self._deadline = Deadline(loop, self._close_late)
        # Whether the write buffer is full, and the future of a producer that waits for room.
        self._is_full = False
        self._room: asyncio.Future[None] | None = None

    def _close_late(self) -> None:
        """Called when the deadline has passed."""
        raise NotImplementedError

    def _refused_head(self) -> Head | None:
        """Return the head of a refused request, None if it did not get that far."""
        raise NotImplementedError

    def _refused_bytes(self) -> bytes:
        """Return what has arrived of a head that was refused before it was parsed."""
        raise NotImplementedError

    def _forget_input(self) -> None:
        """Drop what has arrived."""
        raise NotImplementedError

    def _resume_reading(self) -> None:
        raise NotImplementedError

    def _is_last(self) -> bool:
        """Whether no request can follow the current one."""
        raise NotImplementedError

    def _go_on(self) -> None:
        """Go on to the next request, or close; called when an answer is complete."""
        raise NotImplementedError

    def _refuse(self, problem: Problem) -> None:
        """Answer a request that does not reach an application, and close the connection."""
        if self._transport.is_closing() or self._is_lingering:
            return
        head = self._refused_head()
        request_id = id_of([] if head is None else head.headers)
        path = "/" if head is None else head.raw_path.decode("ascii")
        headers, body = problem_answer(problem, path, request_id)
        if self._asks_for_head(head):
            body = b""
        if self._front.note_answered is not None:
            method = "other" if head is None else known_method(head.method)
            self._front.note_answered(request_id, method, problem.status)
        status = STATUS_LINES[problem.status]
        common = self._front.default_lines() + self._cors_lines_of_refusal(head)
        self._transport.write(b"".join((status, headers, common, CLOSE, b"\r\n", body)))
        self._linger()

    def _asks_for_head(self, head: Head | None) -> bool:
        """Whether a refused request is a HEAD, as far as it was parsed or has arrived."""
        if head is None:
            return self._refused_bytes().startswith(b"HEAD ")
        return head.method == "HEAD"

    def _cors_lines_of_refusal(self, head: Head | None) -> bytes:
        cors = self._front.cors
        if cors is None:
            return b""
        if head is None:
            return cors.lines_for_raw(self._refused_bytes())
        return cors.lines(decode_path(head.raw_path), head.headers)

    def _common_lines(self, request: Request) -> bytes:
        """Return the header lines of every answer."""
        front = self._front
        lines = front.default_lines()
        if front.cors is None:
            return lines
        return lines + front.cors.lines(request.path, request.headers)

    def _linger(self) -> None:
        """Close with a delay, so that a client that is still sending can read the answer."""
        self._forget_input()
        self._is_lingering = True
        if self._is_half_closed:
            self._close()
            return
        self._transport.write_eof()
        self._resume_reading()
        self._deadline.set(limits.LINGER_SECONDS)

    def _close(self) -> None:
        """Close once the client has read everything, or has stopped reading."""
        if not self._transport.is_closing():
            self._transport.close()
            if self._transport.get_write_buffer_size():
                self._watch.start()

    def answer(self, status: int, headers: bytes, body: bytes) -> None:
        request, transport = self._request, self._transport
        if request is None or transport.is_closing():
            return
        if self._is_begun:
            self.abort()
            return
        common, persistence = self._common_lines(request), self._persistence()
        head = b"".join((STATUS_LINES[status], headers, common, persistence, b"\r\n"))
        if request.method == "HEAD":
            transport.write(head)
        elif len(body) > limits.UNREAD_BYTES_A_CONNECTION:
            transport.writelines((head, body))
        else:
            transport.write(head + body)
        self._finish(request)

    def begin(self, status: int, headers: bytes, length: int | None) -> None:
        request, transport = self._request, self._transport
        if request is None or transport.is_closing() or self._is_begun:
            return
        self._is_begun = True
        # It may take as long as the client likes, and others need the room for their bodies.
        request.drop_body()
        self._is_silent = request.method == "HEAD" or status in BODILESS
        self._is_chunked = length is None and not self._is_silent and request.version == "1.1"
        self._length_left = None if self._is_silent else length
        if length is None and not self._is_silent and request.version == "1.0":
            self._keep_alive = False  # the end of the connection is the end of the answer
        framing = CHUNKED_LINE if self._is_chunked else b""
        lines = (headers, framing, self._common_lines(request), self._persistence())
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
            self.abort()  # the client must not wait for data that never comes
            return
        if self._is_chunked:
            self._transport.write(b"0\r\n\r\n")
        self._finish(request)

    def abort(self) -> None:
        self._transport.abort()

    @property
    def is_writable(self) -> bool:
        return not self._is_full and not self._transport.is_closing()

    def unpin(self) -> None:
        """Give back the room of the request's body."""
        if self._pinned:
            self._front.arriving.unpin(self._pinned)
            self._pinned = 0

    def limit_unsent(self) -> None:
        connection = self._transport.get_extra_info("socket")
        with suppress(OSError):  # the connection is closed
            connection.setsockopt(SOL_SOCKET, SO_SNDBUF, limits.UNSENT_BYTES_A_STREAM)

    async def writable(self) -> None:
        if self._is_full and not self._transport.is_closing():
            if self._room is None or self._room.done():
                self._room = self._loop.create_future()
            await self._room

    def _persistence(self) -> bytes:
        """Return the Connection header line, empty where keep-alive is the default."""
        if self._is_last():
            self._keep_alive = False
        if not self._keep_alive:
            return CLOSE
        request = self._request
        return KEEP_ALIVE if request is not None and request.version == "1.0" else b""

    def _finish(self, request: Request) -> None:
        self._leave_request(request)
        self._go_on()

    def _leave_request(self, request: Request) -> None:
        self._request = None
        self._is_begun = False
        self.unpin()
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
        if self._transport.is_closing():
            return
        if self._request is None:
            self._go_on()
        elif self._request.on_writable is not None:
            self._request.on_writable()
