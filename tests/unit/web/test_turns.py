"""Requests that are expensive to parse for their size are parsed in bounded pieces."""

import asyncio
import socket
import threading
from contextlib import ExitStack
from functools import partial

import pytest

from tests.unit.web.test_connections import LAST, Later, exchange, read_to_end
from tests.unit.web.web_server import Recorder, serving, statuses
from web.server import limits
from web.server.arrival import Arrival
from web.server.body import ChunkedBody
from web.server.request import Request
from web.server.turns import Turns, turns_of

TINY = 10 * limits.CHUNKS_A_TURN
TINY_CHUNKS = b"1\r\nx\r\n" * TINY + b"0\r\n\r\n"


def test_tiny_chunks_are_read_a_bounded_number_at_a_time() -> None:
    body = ChunkedBody()
    turns = 1
    rest = body.feed(TINY_CHUNKS + b"next")
    while rest is None:
        read = len(body.data)
        rest = body.feed(b"")
        turns += 1
        assert len(body.data) - read <= limits.CHUNKS_A_TURN
    assert (bytes(body.data), rest) == (b"x" * TINY, b"next")
    assert turns >= 10


def test_chunks_that_arrive_between_two_turns_keep_their_order() -> None:
    body = ChunkedBody()
    assert body.feed(TINY_CHUNKS[: len(TINY_CHUNKS) - 5]) is None
    assert body.feed(b"2\r\nyz\r\n0\r\n\r\n") is None
    while body.feed(b"") is None:
        pass
    assert bytes(body.data) == b"x" * TINY + b"yz"


def test_one_turn_is_run_in_each_iteration_of_the_loop_and_kinds_alternate() -> None:
    async def run() -> list[list[str]]:
        turns, done = Turns(asyncio.get_running_loop()), list[str]()
        for name in ("chunks 1", "chunks 2", "chunks 3", "large 1"):
            turns.wait(name.split()[0], partial(done.append, name))
        seen = []
        for _ in range(4):
            await asyncio.sleep(0)
            seen.append(list(done))
        return seen

    order = ["chunks 1", "large 1", "chunks 2", "chunks 3"]
    assert asyncio.run(run()) == [order[:count] for count in (1, 2, 3, 4)]


def test_a_turn_that_waits_for_another_one_is_behind_those_that_wait() -> None:
    async def run() -> list[str]:
        turns, done = Turns(asyncio.get_running_loop()), list[str]()

        def first() -> None:
            done.append("first")
            turns.wait("chunks", partial(done.append, "again"))

        turns.wait("chunks", first)
        turns.wait("chunks", partial(done.append, "second"))
        for _ in range(3):
            await asyncio.sleep(0)
        return done

    assert asyncio.run(run()) == ["first", "second", "again"]


def test_a_failing_turn_does_not_stop_the_next() -> None:
    async def run() -> list[int]:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
        turns, done = Turns(asyncio.get_running_loop()), list[int]()
        turns.wait("chunks", lambda: [][1])
        turns.wait("chunks", partial(done.append, 1))
        for _ in range(2):
            await asyncio.sleep(0)
        return done

    assert asyncio.run(run()) == [1]


def test_all_that_takes_turns_on_a_loop_shares_them() -> None:
    async def run() -> bool:
        loop = asyncio.get_running_loop()
        return turns_of(loop) is turns_of(loop)

    assert asyncio.run(run())


SHORT = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + TINY_CHUNKS
LONG_HEAD = b"GET /a HTTP/1.1\r\nHost: x\r\na: " + b"b" * limits.LONG_HEAD_BYTES + b"\r\n\r\n"


def test_a_long_head_waits_for_a_turn_and_a_long_body_does_not() -> None:
    arrival = Arrival()
    assert (arrival.feed(LONG_HEAD), arrival.has_unread()) == (None, True)
    whole = arrival.feed()
    assert whole is not None
    assert (whole.head.raw_path, arrival.has_unread()) == (b"/a", False)
    body = b"b" * (2 * limits.LONG_HEAD_BYTES)
    head = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    whole = arrival.feed(head + body)
    assert whole is not None
    assert whole.body == body


@pytest.mark.parametrize("last", [LONG_HEAD, CHUNKED], ids=["a long head", "many chunks"])
def test_what_waits_for_a_turn_is_answered_to_a_client_that_closed_its_half(last: bytes) -> None:
    with serving(Later()) as port, socket.create_connection(("127.0.0.1", port), 20) as client:
        client.sendall(SHORT + last + SHORT)
        client.shutdown(socket.SHUT_WR)
        assert statuses(read_to_end(client)) == [200, 200, 200]


class Iterations(Recorder):
    """Notes in which iteration of the loop each request is taken; holds it with the first."""

    def __init__(self) -> None:
        super().__init__()
        self.is_held, self.released = threading.Event(), threading.Event()
        self.count = 0
        self.noted: list[int] = []

    def handle(self, request: Request) -> bool:
        self.noted.append(self.count)
        if len(self.noted) == 1:
            self.is_held.set()
            assert self.released.wait(20)
            self.look()
        return super().handle(request)

    def look(self) -> None:
        self.count += 1
        asyncio.get_running_loop().call_soon(self.look)


def test_long_heads_that_arrive_at_once_are_read_one_in_each_iteration() -> None:
    app = Iterations()
    with serving(app) as port, ExitStack() as clients:

        def send(head: bytes) -> socket.socket:
            client = clients.enter_context(socket.create_connection(("127.0.0.1", port), 20))
            client.sendall(head)
            return client

        sent = [send(LONG_HEAD[:9]) for _ in range(8)]
        first = send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert app.is_held.wait(20)
        for client in sent:
            client.sendall(LONG_HEAD[9:])
        app.released.set()
        for client in (first, *sent):
            assert client.recv(1024).startswith(b"HTTP/1.1 200")
    assert len(set(app.noted)) == 9


def test_a_body_in_tiny_chunks_and_the_next_request_are_answered() -> None:
    application = Later()
    head = b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with serving(application) as port:
        answers = exchange(port, head + TINY_CHUNKS + LAST)
    assert statuses(answers) == [200, 200]
    assert [request.body for request in application.requests] == [b"x" * TINY, b""]


def test_broken_framing_in_a_later_turn_is_400() -> None:
    head = b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with serving(Later()) as port:
        answers = exchange(port, head + TINY_CHUNKS[: len(TINY_CHUNKS) - 5] + b"z\r\n")
    assert statuses(answers) == [400]


def test_a_head_of_too_many_lines_is_431() -> None:
    with serving(Later()) as port:
        for lines, status in ((limits.HEAD_LINES - 3, 200), (limits.HEAD_LINES, 431)):
            raw = b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + b"a: b\r\n" * lines
            assert statuses(exchange(port, raw + b"\r\n")) == [status]
