"""The server in a test: bytes in, bytes out, with an application that tells what it read."""

import asyncio
import json
import signal
import threading
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import uvicorn
from uvicorn.server import ServerState

from web.server.limits import LIMITS, Limits
from web.server.protocol import Protocol
from web.server.request import Request
from web.server.serving import QuietServer, listening_sockets, options

# A long head takes longer than clients may, if it comes byte by byte on a busy machine.
PATIENT = replace(LIMITS, read_seconds=600.0)


class Seen(NamedTuple):
    """A request as an application saw it."""

    method: str
    raw_path: bytes
    query: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    head_bytes: int


class Recorder:
    """An application that keeps what it is asked and answers `ok`."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.refused: list[int] = []

    def handle(self, request: Request) -> bool:
        self.seen.append(
            Seen(
                request.method,
                request.raw_path,
                request.query,
                tuple(request.headers),
                request.body,
                request.head_bytes,
            )
        )
        request.answer(200, b"content-length: 2\r\n", b"ok")
        return True

    def note_answered(self, request_id: str, method: str, status: int) -> None:
        self.refused.append(status)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("every request is handled")


class Transport(asyncio.Transport):
    """Keeps what is written; a client that reads everything at once."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def write(self, data: Any) -> None:
        assert not self.closed
        self.written += data

    def writelines(self, pieces: Iterable[Any]) -> None:
        self.write(b"".join(pieces))

    def write_eof(self) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close


class Outcome(NamedTuple):
    """What became of some bytes: what the application saw, and the statuses answered."""

    seen: list[Seen]
    statuses: list[int]


class Machine:
    """Connections without a network, one after the other, on a loop that tests run step by step."""

    def __init__(self, app: Recorder | None = None) -> None:
        self.loop = asyncio.new_event_loop()
        self.app = app or Recorder()
        settings: dict[str, Any] = options("127.0.0.1", 0) | {"factory": False}
        self.config = uvicorn.Config(self.app, **settings)
        self.config.load()
        self.state = ServerState()
        self.last: weakref.ref[Protocol] | None = None

    def read(self, pieces: Iterable[bytes], *, half_close: bool = False) -> Outcome:
        """Feed a connection piece by piece."""
        self.app.seen = []
        transport = Transport()
        connection = Protocol(self.config, self.state, {}, self.loop, PATIENT)
        connection.connection_made(transport)
        for piece in pieces:
            if not transport.closed:
                connection.data_received(piece)
            self.turn(connection)
        if half_close and not transport.closed:
            if not connection.eof_received():
                transport.close()
            self.turn(connection)
        connection.connection_lost(None)
        self.last = weakref.ref(connection)
        return Outcome(self.app.seen, statuses(transport.written))

    def turn(self, connection: Protocol) -> None:
        """Let the loop do what is waiting: the next of pipelined requests, or a turn's work."""
        while connection._is_advancing or connection._arrival.has_unread():
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()

    def close(self) -> None:
        self.loop.close()


def statuses(written: bytes) -> list[int]:
    """The statuses of the answers in a stream of them, 100 left out."""
    found = []
    while written:
        head, _, written = written.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        status = int(lines[0].split()[1])
        if status != 100:
            lengths = [line for line in lines if line.lower().startswith(b"content-length")]
            written = written[int(lengths[0].split(b":")[1]) :]
            found.append(status)
    return found


@contextmanager
def serving(app: Any, limits: Limits = LIMITS) -> Iterator[int]:
    """Serve an application in a thread, on a port of its own: the port."""
    settings = options("127.0.0.1", 0, limits) | {"factory": False, "lifespan": "off"}
    server = QuietServer(uvicorn.Config(app, **settings))
    sockets = listening_sockets("127.0.0.1", 0)
    thread = threading.Thread(target=server.run, args=[sockets])
    thread.start()
    while not server.started:
        assert thread.is_alive()
    try:
        yield sockets[0].getsockname()[1]
    finally:
        server.handle_exit(signal.SIGTERM, None)
        thread.join(15)
        assert not thread.is_alive()


def problem_of(written: bytes) -> dict[str, Any]:
    """The problem document that an answer ends with."""
    problem: dict[str, Any] = json.loads(written.partition(b"\r\n\r\n")[2])
    return problem


def problem_code(written: bytes) -> str:
    code: str = problem_of(written)["code"]
    return code
