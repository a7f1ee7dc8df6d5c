"""An application that answers twice, too much or too late, and clients that stop reading."""

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress

import pytest

from tests.polling import wait_until
from tests.unit.web.test_connections import (
    GET,
    LAST,
    Later,
    Streams,
    connected,
    echo,
    exchange,
    read_to_end,
)
from tests.unit.web.web_server import Machine, Recorder, Transport, problem_code, serving, statuses
from web.server.limits import LINGER_BYTES, MIB, REFUSED_CONNECTIONS, Limits
from web.server.protocol import Protocol
from web.server.request import Request

Act = Callable[[Request], None]
OK = b"content-length: 2\r\n"


def answer_after_aborting(request: Request) -> None:
    request.abort()
    request.answer(200, OK, b"ok")
    request.begin(200, OK, 2)
    request.write(b"ok")
    request.end()


def answer_after_beginning(request: Request) -> None:
    request.begin(200, OK, 2)
    request.answer(200, OK, b"ok")


def write_more_than_announced(request: Request) -> None:
    request.begin(200, OK, 2)
    request.write(b"more")


def write_less_than_announced(request: Request) -> None:
    request.begin(200, OK, 2)
    request.write(b"x")
    request.end()


def end_before_beginning(request: Request) -> None:
    request.end()


@pytest.mark.parametrize(
    "act",
    [
        answer_after_aborting,
        answer_after_beginning,
        write_more_than_announced,
        write_less_than_announced,
        end_before_beginning,
    ],
)
def test_an_answer_at_odds_with_itself_is_aborted(act: Act) -> None:
    """The client must not take a part of an answer, or two of them, for a whole one."""
    with serving(Later(act)) as port, connected(port, GET) as client:
        received = b""
        with suppress(ConnectionResetError):
            received = read_to_end(client)
        assert received.partition(b"\r\n\r\n")[2] in (b"", b"x")


def test_an_answer_begins_once() -> None:
    def begin_twice(request: Request) -> None:
        for _ in range(2):
            request.begin(200, OK, 2)
        request.write(b"ok")
        request.end()

    with serving(Later(begin_twice)) as port:
        assert exchange(port, LAST).count(b"HTTP/1.1 200 ") == 1


def test_a_handler_that_fails_is_answered_500() -> None:
    class Failing(Later):
        def handle(self, request: Request) -> bool:
            raise ZeroDivisionError

    with serving(Failing()) as port:
        received = exchange(port, LAST)
    assert statuses(received) == [500]
    assert problem_code(received) == "internal_error"


def test_a_request_knows_that_its_client_closed_its_half() -> None:
    seen: list[bool] = []

    def look_later(request: Request) -> None:
        seen.append(request.is_ending)
        request.limit_unsent()
        asyncio.get_running_loop().call_later(0.3, finish, request)

    def finish(request: Request) -> None:
        seen.append(request.is_ending)
        echo(request)

    with serving(Later(look_later)) as port, connected(port, GET) as client:
        wait_until(lambda: seen == [False], 10)
        client.shutdown(socket.SHUT_WR)
        assert statuses(read_to_end(client)) == [200]
    assert seen == [False, True]


def test_a_request_cut_by_the_clients_close_is_dropped() -> None:
    with serving(Later()) as port, connected(port, GET + b"GET /cut HTTP/1.1\r\n") as client:
        client.shutdown(socket.SHUT_WR)
        assert statuses(read_to_end(client)) == [200]


def test_a_refusal_behind_the_clients_close_ends_the_connection() -> None:
    with serving(Later()) as port, connected(port, GET + b"nonsense\r\n\r\n") as client:
        client.shutdown(socket.SHUT_WR)
        client.settimeout(1.5)  # sooner than the server would wait for more
        assert statuses(read_to_end(client)) == [200, 400]


def test_far_too_many_connections_are_closed_without_an_answer() -> None:
    with serving(Later(), Limits(connections=1)) as port, ExitStack() as opened:
        first = opened.enter_context(connected(port))
        others = []
        for _ in range(REFUSED_CONNECTIONS + 5):
            with suppress(ConnectionResetError):
                others.append(opened.enter_context(connected(port)))
        received = []
        for other in others:
            with suppress(ConnectionResetError):
                received.append(other.recv(13))
        assert b"HTTP/1.1 503 " in received
        assert len([it for it in received if it]) <= REFUSED_CONNECTIONS
        first.sendall(LAST)
        assert statuses(read_to_end(first)) == [200]


LARGE = b"x" * 8 * MIB


def answer_large(request: Request) -> None:
    body = LARGE if request.path == "/a" else b""
    request.answer(200, b"content-length: %d\r\n" % len(body), body)


def test_a_pipelined_request_is_read_once_the_answer_before_it_was() -> None:
    app = Later(answer_large)
    with serving(app) as port, connected(port, GET + LAST) as client:
        wait_until(lambda: len(app.requests) == 1, 10)
        time.sleep(0.2)
        assert len(app.requests) == 1
        assert statuses(read_to_end(client)) == [200, 200]


def test_a_producer_is_told_when_there_is_room_again() -> None:
    told: list[bool] = []

    def begin(request: Request) -> None:
        def resume() -> None:
            told.append(request.is_writable)
            request.end()

        request.on_writable = resume
        request.begin(200, b"content-length: %d\r\n" % len(LARGE), len(LARGE))
        request.write(LARGE)
        assert not request.is_writable

    with serving(Later(begin)) as port, connected(port, GET) as client:
        received = b""
        while len(received) < len(LARGE):
            received += client.recv(MIB)
        wait_until(lambda: told == [True], 10)


def test_a_stream_goes_on_when_its_client_reads_again() -> None:
    app = Streams(pieces=[b"x" * MIB] * 8)
    raw = LAST.replace(b"1.1", b"1.0")
    with serving(app) as port, connected(port, raw) as client:
        time.sleep(0.3)
        assert app.made < 8
        assert len(read_to_end(client).partition(b"\r\n\r\n")[2]) == 8 * MIB


def test_an_unread_answer_without_room_is_aborted() -> None:
    with serving(Later(answer_large), Limits(unread_bytes=MIB)) as port, connected(port, GET) as it:
        time.sleep(0.2)
        received = 0
        with suppress(ConnectionResetError):
            while data := it.recv(MIB):
                received += len(data)
        assert received < len(LARGE)


def test_an_answer_that_is_read_after_its_connection_was_refused_changes_nothing() -> None:
    """The connection lingers by then: what follows on it is dropped."""
    with (
        serving(Later(answer_large), Limits(keep_alive_seconds=0.3)) as port,
        connected(port, GET) as client,
    ):
        time.sleep(0.2)
        client.sendall(b"nonsense\r\n\r\n")
        time.sleep(0.6)
        with suppress(ConnectionResetError):
            assert read_to_end(client).startswith(b"HTTP/1.1 200 ")
        assert statuses(exchange(port, LAST)) == [200]


class Keeper(Recorder):
    """An application that answers nothing by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[Request] = []

    def handle(self, request: Request) -> bool:
        self.requests.append(request)
        return True


@contextmanager
def unconnected(app: Recorder) -> Iterator[tuple[Protocol, Transport]]:
    """A connection without a network."""
    with closing(Machine(app)) as machine:
        transport = Transport()
        connection = Protocol(machine.config, machine.state, {}, machine.loop)
        connection.connection_made(transport)
        yield connection, transport
        connection.connection_lost(None)


def test_nothing_is_lingered_for_once_the_client_has_closed_its_half() -> None:
    app = Keeper()
    with unconnected(app) as (connection, transport):
        connection.data_received(LAST + b"what nobody reads")
        assert connection.eof_received()
        app.requests[0].answer(200, OK, b"ok")
        assert statuses(transport.written) == [200]
        assert transport.closed


def test_a_client_that_goes_on_sending_once_it_was_refused_is_cut_off() -> None:
    with unconnected(Recorder()) as (connection, transport):
        connection.data_received(b"nonsense\r\n\r\n")
        assert statuses(transport.written) == [400]
        connection.data_received(b"x" * LINGER_BYTES)
        assert not transport.closed
        connection.data_received(b"x")
        assert transport.closed
