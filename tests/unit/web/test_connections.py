"""The server on a real socket: delayed answers, bounds, stalled clients."""

import asyncio
import socket
import struct
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest

from tests.polling import eventually, wait_until
from tests.unit.web.web_corpus import ACCEPTED, post
from tests.unit.web.web_server import Recorder, serving, statuses
from web.server.limits import MIB, Limits
from web.server.request import Request

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
PAUSE_SECONDS = 0.002
IMPATIENT = Limits(read_seconds=0.4, write_seconds=0.5)


class Later:
    """An application that answers a moment later, as a batch does: with the body it was sent."""

    def __init__(self, answer: Callable[[Request], None] | None = None) -> None:
        self._answer = answer or echo
        self.requests: list[Request] = []

    def handle(self, request: Request) -> bool:
        self.requests.append(request)
        asyncio.get_running_loop().call_later(0.005, self._answer, request)
        return True

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("every request is handled")


def echo(request: Request) -> None:
    request.answer(200, b"content-length: %d\r\n" % len(request.body), request.body)


def stay_silent(request: Request) -> None:
    """Answer nothing."""


def begin_endless(request: Request) -> None:
    """Begin an answer that ends when it is told to."""
    request.on_shutdown = request.end
    request.begin(200, b"")


@contextmanager
def connected(port: int, *pieces: bytes) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(PAUSE_SECONDS)
        yield connection


def read_to_end(connection: socket.socket) -> bytes:
    received = b""
    while data := connection.recv(65536):
        received += data
    return received


def exchange(port: int, *pieces: bytes) -> bytes:
    """Send bytes in pieces; return everything received until the server closes."""
    with connected(port, *pieces) as connection:
        return read_to_end(connection)


@pytest.fixture(scope="module")
def later() -> Iterator[int]:
    with serving(Later()) as port:
        yield port


@pytest.mark.parametrize("name", ["two requests", "chunks with trailers", "no body"])
def test_a_cut_while_a_request_runs_changes_nothing(later: int, name: str) -> None:
    case = ACCEPTED[name]
    raw = case.raw + LAST
    for cut in range(1, len(raw)):
        assert statuses(exchange(later, raw[:cut], raw[cut:])) == [*case.statuses, 200], cut


def test_a_request_that_arrives_in_pieces_while_another_runs_is_answered(later: int) -> None:
    for cut in range(1, len(LAST)):
        assert statuses(exchange(later, post(b"x"), LAST[:cut], LAST[cut:])) == [200, 200], cut


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_head_is_answered_without_the_body(method: str) -> None:
    def answer(request: Request) -> None:
        request.answer(200, b"content-length: 5\r\n", b"hello")

    with serving(Later(answer)) as port:
        received = exchange(port, LAST.replace(b"GET", method.encode()))
    assert b"content-length: 5\r\n" in received
    assert received.endswith(b"\r\n\r\nhello" if method == "GET" else b"\r\n\r\n")


@pytest.mark.parametrize(
    ("version", "ending"),
    [("1.1", b"4\r\npart\r\n3\r\nend\r\n0\r\n\r\n"), ("1.0", b"\r\n\r\npartend")],
)
def test_a_stream_is_chunked_for_http_1_1(version: str, ending: bytes) -> None:
    with serving(Streams(pieces=[b"part", b"end"])) as port:
        raw = b"GET /a HTTP/" + version.encode() + b"\r\nHost: x\r\nConnection: close\r\n\r\n"
        received = exchange(port, raw)
    assert received.endswith(ending)
    assert (b"transfer-encoding: chunked" in received) == (version == "1.1")
    assert b"connection: close\r\n" in received


def test_a_stream_that_fails_does_not_look_complete() -> None:
    with serving(Streams(pieces=[b"part"], fails=True)) as port, connected(port, GET) as client:
        received = b""
        with suppress(ConnectionResetError):
            received = read_to_end(client)
        assert not received.endswith(b"0\r\n\r\n")


def test_a_stream_is_produced_no_faster_than_it_is_read() -> None:
    app = Streams(pieces=[b"x" * 65536] * 2000)
    with serving(app) as port, connected(port, GET):
        time.sleep(0.5)
        assert app.made < 500
        assert exchange(port, LAST.replace(b"/last", b"/short")).startswith(b"HTTP/1.1 200 ")


def test_a_client_that_reads_nothing_is_disconnected() -> None:
    app = Streams(pieces=[b"x" * 65536] * 2000)
    with serving(app, IMPATIENT) as port, connected(port, GET):
        wait_until(lambda: app.finished == 1, 10)
    assert app.made < 2000


@pytest.mark.parametrize("part", [b"", GET[:9], GET[:-2], post(b"hello")[:-2]])
def test_a_request_that_takes_too_long_is_408(part: bytes) -> None:
    with serving(Later(), IMPATIENT) as port:
        assert exchange(port, part).startswith(b"HTTP/1.1 408 ")


def test_a_slow_but_steady_body_times_out_too() -> None:
    with serving(Later(), IMPATIENT) as port, connected(port, post(b"x" * 100)[:-100]) as client:
        with suppress(ConnectionError):
            for _ in range(20):
                client.sendall(b"x")
                time.sleep(0.1)
        assert client.recv(100).startswith(b"HTTP/1.1 408 ")


def test_a_connection_that_was_opened_early_gives_its_request_all_the_time() -> None:
    raw = post(b"hello", b"Connection: close")
    with serving(Later(), IMPATIENT) as port:

        def send_late() -> list[int]:
            with connected(port) as client:
                time.sleep(0.3)
                client.sendall(raw[:-1])
                time.sleep(0.3)
                client.sendall(raw[-1:])
                return statuses(read_to_end(client))

        # A busy machine may be late with the second half, which is 408.
        assert eventually(send_late, [200].__eq__, 20) == [200]


def test_an_idle_connection_is_closed_without_an_answer() -> None:
    with serving(Later(), Limits(keep_alive_seconds=0.5)) as port:
        assert statuses(exchange(port, GET)) == [200]


@pytest.mark.parametrize(
    ("app", "raw"),
    [(Later(), GET + b"\r\n"), (Recorder(), CHUNKED + b"1\r\nx\r\n" * 3000 + b"0\r\n\r\n")],
    ids=["a line end behind a request", "more chunks than one turn reads"],
)
def test_an_idle_connection_is_closed_however_its_request_arrived(app: Any, raw: bytes) -> None:
    with serving(app, Limits(keep_alive_seconds=0.5)) as port:
        assert statuses(exchange(port, raw)) == [200]


def test_a_refused_upload_gets_its_answer_while_it_is_sent() -> None:
    """Closing at once would reset the connection before the client has read."""
    raw = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n" + b"x" * 3_000_000
    with serving(Later()) as port:
        assert exchange(port, raw).startswith(b"HTTP/1.1 413 ")


def test_connections_beyond_the_limit_are_503_and_others_continue() -> None:
    with serving(Later(), Limits(connections=5)) as port, ExitStack() as opened:
        first = [opened.enter_context(connected(port)) for _ in range(5)]
        for _ in range(100):
            with connected(port) as client, suppress(ConnectionResetError):
                assert read_to_end(client)[:13] in (b"HTTP/1.1 503 ", b"")
        first[0].sendall(LAST)
        assert statuses(read_to_end(first[0])) == [200]
        time.sleep(0.1)
        assert statuses(exchange(port, LAST)) == [200]


def test_uploads_beyond_the_budget_give_way_and_others_continue() -> None:
    """The upload that has been stalled for longest is answered 503, with `Retry-After`."""
    head = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
    with serving(Later(), Limits(arriving_bytes=4 * MIB)) as port, ExitStack() as opened:
        uploads = []
        for _ in range(10):
            uploads.append(opened.enter_context(connected(port, head + b"x" * 900_000)))
            time.sleep(0.05)
        for upload in uploads[:5]:
            assert upload.recv(13) == b"HTTP/1.1 503 "
        assert statuses(exchange(port, post(b"x" * 500_000, b"Connection: close"))) == [200]
        uploads[-1].sendall(b"x" * 100_000)
        assert uploads[-1].recv(13) == b"HTTP/1.1 200 "


def test_unread_answers_give_way() -> None:
    large = b"x" * 12 * MIB

    def answer(request: Request) -> None:
        body = large if request.path == "/a" else b""
        request.answer(200, b"content-length: %d\r\n" % len(body), body)

    app = Later(answer)
    with serving(app, Limits(unread_bytes=40 * MIB)) as port, ExitStack() as opened:
        readers = []
        for _ in range(8):
            readers.append(opened.enter_context(connected(port, GET)))
            time.sleep(0.05)
        with suppress(ConnectionResetError):
            assert len(read_to_end(readers[0])) < len(large)
        assert len(exchange(port, LAST.replace(b"/last", b"/a"))) > len(large)


def test_a_disconnected_client_is_noticed_and_answering_it_does_nothing() -> None:
    left = threading.Event()
    app = Later(stay_silent)
    with serving(app) as port:
        with connected(port, GET) as client:
            wait_until(lambda: len(app.requests) == 1, 10)
            app.requests[0].on_disconnect = left.set
            # A reset: one that only ends its half may still wait for its answer.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert left.wait(5)
        assert app.requests[0].is_disconnected
        app.requests[0].answer(200, b"content-length: 0\r\n", b"")


def test_an_answer_without_an_end_ends_when_its_client_closes_its_half() -> None:
    with serving(Later(begin_endless)) as port, connected(port, GET) as client:
        received = client.recv(1)
        client.shutdown(socket.SHUT_WR)
        client.settimeout(5)
        received += read_to_end(client)
    assert received.endswith(b"\r\n0\r\n\r\n")


def test_a_client_that_closes_its_half_gets_all_its_answers(later: int) -> None:
    with connected(later, post(b"one") + post(b"two") + post(b"three")) as client:
        client.shutdown(socket.SHUT_WR)
        assert statuses(read_to_end(client)) == [200, 200, 200]


def test_a_client_that_closes_its_half_during_a_stream_sees_its_end_at_once() -> None:
    app = Streams(pieces=[b"part"] * 3, pause=0.2)
    with serving(app) as port, connected(port, GET) as client:
        received = client.recv(1)
        client.shutdown(socket.SHUT_WR)
        client.settimeout(5)
        received += read_to_end(client)
    assert received.endswith(b"\r\n0\r\n\r\n")


def test_shutdown_lets_an_idle_connection_bring_one_more_request() -> None:
    with serving(Later()) as port:
        client = socket.create_connection(("127.0.0.1", port), timeout=10)
        client.sendall(GET)
        assert client.recv(1000).startswith(b"HTTP/1.1 200 ")
        timer = threading.Timer(0.5, client.sendall, [GET])
        timer.start()
    with client:
        received = read_to_end(client)
    assert b"connection: close\r\n" in received


class Streams(Later):
    """Streams pieces from a task; `/short` has one."""

    def __init__(self, pieces: list[bytes], *, fails: bool = False, pause: float = 0) -> None:
        super().__init__()
        self._pieces, self._fails, self._pause = pieces, fails, pause
        self.made = self.finished = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def handle(self, request: Request) -> bool:
        task = asyncio.get_running_loop().create_task(self._stream(request))
        self._tasks.add(task)
        return True

    async def _stream(self, request: Request) -> None:
        with suppress(ZeroDivisionError):
            await request.stream(200, b"", self._chunks(request.path))
        self.finished += 1

    async def _chunks(self, path: str) -> AsyncIterator[bytes]:
        for piece in self._pieces[:1] if path == "/short" else self._pieces:
            self.made += 1
            yield piece
            await asyncio.sleep(self._pause)
        if self._fails:
            raise ZeroDivisionError


def echo_through_a_small_buffer(request: Request) -> None:
    request.limit_unsent()
    echo(request)


def test_clients_that_half_close_and_read_nothing_give_up_their_places() -> None:
    """Some of these answers are a little more than the system keeps for a client."""
    sizes = range(32_000, 512_000, 16_000)
    limits = Limits(connections=len(sizes), write_seconds=0.5)
    with serving(Later(echo_through_a_small_buffer), limits) as port, ExitStack() as opened:
        for size in sizes:
            client = opened.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", port))
            client.sendall(post(b"x" * size))
            client.recv(1)  # it is answered
            client.shutdown(socket.SHUT_WR)
        wait_until(lambda: are_free(port, len(sizes)), 5)


def are_free(port: int, places: int) -> bool:
    """Whether as many clients are served at the same time."""
    with ExitStack() as opened:
        for _ in range(places):
            client = opened.enter_context(connected(port))
        client.sendall(LAST)
        with suppress(ConnectionResetError):
            return statuses(read_to_end(client)) == [200]
    return False
