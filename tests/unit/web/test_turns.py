"""Requests that are expensive to parse for their size are parsed in bounded pieces."""

import asyncio

from tests.unit.web.test_connections import LAST, Later, exchange
from tests.unit.web.web_server import serving, statuses
from web.server import limits
from web.server.body import ChunkedBody
from web.server.turns import Turns

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


def test_one_connection_has_its_turn_in_each_iteration_of_the_loop() -> None:
    loop = asyncio.new_event_loop()
    turns, done = Turns(loop), []
    for connection in range(3):
        turns.wait(lambda connection=connection: done.append(connection))
    seen = []
    for _ in range(3):
        loop.call_soon(loop.stop)
        loop.run_forever()
        seen.append(list(done))
    loop.close()
    assert seen == [[0], [0, 1], [0, 1, 2]]


def test_a_failing_turn_does_not_stop_the_next() -> None:
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda _loop, _context: None)
    turns, done = Turns(loop), []
    turns.wait(lambda: [][1])
    turns.wait(lambda: done.append(1))
    for _ in range(2):
        loop.call_soon(loop.stop)
        loop.run_forever()
    loop.close()
    assert done == [1]


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
