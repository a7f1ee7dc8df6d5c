"""New connections are accepted together, however long the event loop takes for each iteration."""

import asyncio
import logging
import socket
import threading
import time
from contextlib import ExitStack
from ipaddress import IPv4Address

import pytest

from tests.unit.web.web_server import Recorder, serving
from web.server.limits import GRACE_SECONDS
from web.server.request import Request
from web.server.serving import listening_sockets

TOGETHER = 100


@pytest.mark.parametrize(
    ("host", "addresses"),
    [
        ("127.0.0.1", {"127.0.0.1"}),
        ("localhost", {"127.0.0.1"}),
        ("", {str(IPv4Address(0))}),
    ],
)
def test_all_addresses_of_a_host_are_bound(host: str, addresses: set[str]) -> None:
    sockets = listening_sockets(host, 0)
    assert addresses <= {each.getsockname()[0] for each in sockets}
    for each in sockets:
        each.close()


@pytest.mark.parametrize(
    ("host", "port", "reason"),
    [
        ("127.0.0.1", 70_000, "a port is at most 65535"),
        ("192.0.2.1", 0, "assign requested address"),
        ("192.168..5", 0, "not the name of a host"),
    ],
)
def test_what_cannot_be_bound_ends_the_process(host: str, port: int, reason: str) -> None:
    with pytest.raises(SystemExit, match=f"^cannot listen on {host}, port {port}: .*{reason}$"):
        listening_sockets(host, port)


class Busy(Recorder):
    """Takes a while in each iteration of the event loop, and counts them, once it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.iterations = self.last = 0

    def handle(self, request: Request) -> bool:
        if not self.seen:
            self.work()
        self.last = self.iterations
        return super().handle(request)

    def work(self) -> None:
        self.iterations += 1
        time.sleep(0.01)
        asyncio.get_running_loop().call_soon(self.work)


def test_many_clients_that_connect_at_once_wait_for_few_iterations() -> None:
    app = Busy()
    with serving(app) as port, ExitStack() as clients:

        def connect() -> socket.socket:
            client = clients.enter_context(socket.create_connection(("127.0.0.1", port), 20))
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            return client

        assert connect().recv(1024).startswith(b"HTTP/1.1 200")
        together = [connect() for _ in range(TOGETHER)]
        before = app.iterations
        for client in together:
            assert client.recv(1024).startswith(b"HTTP/1.1 200")
        assert app.last - before < TOGETHER / 4


class Held(Recorder):
    """Holds the event loop from its first request on, until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.is_held, self.released = threading.Event(), threading.Event()

    def handle(self, request: Request) -> bool:
        self.is_held.set()
        assert self.released.wait(10)
        return super().handle(request)


def test_clients_that_connect_just_before_the_server_ends_do_not_hold_it_up() -> None:
    app = Held()
    with ExitStack() as clients:
        with serving(app) as port:

            def connect() -> socket.socket:
                return clients.enter_context(socket.create_connection(("127.0.0.1", port), 20))

            connect().sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert app.is_held.wait(10)
            for _ in range(TOGETHER):
                connect()
            # The loop finds all of them and the signal at once.
            threading.Timer(0.2, app.released.set).start()
            asked_at = time.monotonic()
        assert time.monotonic() - asked_at < GRACE_SECONDS / 2


def test_a_request_that_does_not_arrive_in_time_is_refused_before_the_grace_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with ExitStack() as clients:
        with serving(Recorder()) as port:
            client = clients.enter_context(socket.create_connection(("127.0.0.1", port), 20))
            client.sendall(b"GET / HTTP/1.1\r\n")
            time.sleep(0.2)
            asked_at = time.monotonic()
        assert time.monotonic() - asked_at < GRACE_SECONDS
        assert client.recv(1024).startswith(b"HTTP/1.1 408 ")
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
