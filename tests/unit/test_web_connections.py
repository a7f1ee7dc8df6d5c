"""The server on a real socket: answers that come later, bounds, clients that stand still."""

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest

from tests.unit.web_corpus import ACCEPTED, post
from tests.unit.web_server import serving, statuses
from web import limits
from web.request import Request

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
PAUSE_SECONDS = 0.002


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
    """Everything that is answered to some bytes, sent in pieces, until the server closes."""
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
