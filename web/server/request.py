"""A whole request, and the ways to answer it."""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

from web.request_id import request_id
from web.server.head import Headers

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def id_of(headers: Sequence[tuple[bytes, bytes]]) -> str:
    """Return the request's id: its X-Request-ID if that is harmless, else a new one."""
    for name, value in headers:
        if name == b"x-request-id":
            return request_id(value.decode("latin-1"))
    return request_id(None)


def known_method(method: str) -> str:
    """Return a method fit for logs and metrics: clients can make up any word."""
    return method if method in _METHODS else "other"


class Connection(Protocol):
    """What a request needs of its connection."""

    def answer(self, status: int, headers: bytes, body: bytes) -> None: ...
    def begin(self, status: int, headers: bytes, length: int | None) -> None: ...
    def write(self, chunk: bytes) -> None: ...
    def end(self) -> None: ...
    def abort(self) -> None: ...
    async def writable(self) -> None: ...
    @property
    def is_writable(self) -> bool: ...
    @property
    def is_ending(self) -> bool: ...
    def limit_unsent(self) -> None: ...
    def unpin(self) -> None: ...


class Request:
    """One complete request, with header names in lower case.

    It is answered once: by `answer`, by `stream`, or by `begin`, `write` and
    `end`. These may be called on the event loop at any later time, and do nothing
    once the client has disconnected. The next request of a connection is read
    after the last was answered, so that pipelined requests are answered in order.
    """

    __slots__ = (
        "_connection",
        "_id",
        "body",
        "head_bytes",
        "headers",
        "method",
        "on_disconnect",
        "on_shutdown",
        "on_writable",
        "path",
        "query",
        "raw_path",
        "started",
        "version",
    )

    def __init__(
        self,
        connection: Connection | None,
        method: str,
        path: str,
        raw_path: bytes,
        query: bytes,
        version: str,
        headers: Headers,
        body: bytes,
        started: float,
        head_bytes: int = 0,
    ) -> None:
        self._connection = connection
        self._id: str | None = None
        self.method = method
        self.path = path  # percent-decoded, as ASGI has it
        self.raw_path = raw_path
        self.query = query
        self.version = version  # "1.1" or "1.0"
        self.headers = headers
        self.body = body
        self.started = started  # `perf_counter` reading when all of it had arrived
        self.head_bytes = head_bytes  # the length of the head
        self.on_disconnect: Callable[[], None] | None = None  # called if the client disconnects
        # Called when there is room for the next piece again (see `is_writable`).
        self.on_writable: Callable[[], None] | None = None
        # Called when the server begins to shut down, or the client shuts down its half of the
        # connection: an answer without an end should end now.
        self.on_shutdown: Callable[[], None] | None = None

    @property
    def id(self) -> str:
        """The request's id; once it was asked for, it stays when `headers` are dropped."""
        if self._id is None:
            self._id = id_of(self.headers)
        return self._id

    def header(self, name: bytes) -> str | None:
        """Return a header, its values joined by commas if it was sent several times; or None."""
        values = [value for sent, value in self.headers if sent == name]
        return b",".join(values).decode("latin-1") if values else None

    @property
    def is_disconnected(self) -> bool:
        """Whether no answer is awaited: the client has disconnected, or has been answered."""
        return self._connection is None

    def answer(self, status: int, headers: bytes, body: bytes) -> None:
        """Answer in one piece.

        `headers` are complete lines, each with its CRLF, Content-Length among
        them. Date and Connection are added; HEAD is answered without the body.
        """
        if self._connection is not None:
            self._connection.answer(status, headers, body)

    async def stream(
        self,
        status: int,
        headers: bytes,
        chunks: AsyncIterator[bytes],
        length: int | None = None,
    ) -> None:
        """Answer piece by piece; the next is requested when the client has room for it.

        `length` is the Content-Length, if `headers` have one. An error in `chunks` aborts the
        connection, so that the client can't take a partial answer for a complete one.
        """
        self.begin(status, headers, length)
        try:
            if self.method != "HEAD":
                async for chunk in chunks:
                    self.write(chunk)
                    await self.writable()
                    if self.is_disconnected:
                        return
        except BaseException:
            self.abort()
            raise
        self.end()

    def begin(self, status: int, headers: bytes, length: int | None = None) -> None:
        """Send the head of an answer; `length` is its Content-Length, if `headers` have one."""
        if self._connection is not None:
            self._connection.begin(status, headers, length)

    def write(self, chunk: bytes) -> None:
        """Send a piece of the body."""
        if self._connection is not None:
            self._connection.write(chunk)

    @property
    def is_writable(self) -> bool:
        """Whether there is room for the next piece; false once the client has disconnected."""
        return self._connection is not None and self._connection.is_writable

    @property
    def is_ending(self) -> bool:
        """Whether an answer without an end should end now; then `on_shutdown` is called no more."""
        return self._connection is not None and self._connection.is_ending

    def drop_body(self) -> None:
        """Drop the body: nobody will read it, and others need the room for theirs."""
        self.body = b""
        if self._connection is not None:
            self._connection.unpin()

    def limit_unsent(self) -> None:
        """Have the kernel keep no megabytes for the client: this answer lasts for minutes."""
        if self._connection is not None:
            self._connection.limit_unsent()

    async def writable(self) -> None:
        """Wait until there is room for the next piece, or the client has disconnected."""
        if self._connection is not None:
            await self._connection.writable()

    def end(self) -> None:
        """Finish the answer."""
        if self._connection is not None:
            self._connection.end()

    def abort(self) -> None:
        """Abort the connection, answered or not."""
        if self._connection is not None:
            self._connection.abort()

    def detach(self) -> None:
        """Called by the connection when this is no longer its current request."""
        self._connection = None
        self.on_disconnect = self.on_writable = self.on_shutdown = None
