"""An ASGI application that answers, does not answer, fails, or outlives its client."""

import asyncio
import logging
import socket
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from tests.unit.web.test_connections import GET, LAST, connected, exchange, read_to_end
from tests.unit.web.web_corpus import post
from tests.unit.web.web_server import problem_of, serving, statuses
from web.server import asgi
from web.server.request import Request

Answer = Callable[[Any, Any], Awaitable[None]]
START = {"type": "http.response.start", "status": 200, "headers": []}


class App:
    """An application without `handle`: each request is answered by a coroutine function."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.received: list[dict[str, Any]] = []
        self.headers: list[tuple[bytes, bytes]] = []
        self.is_done = threading.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def receive_and_keep() -> Any:
            self.received.append(await receive())
            return self.received[-1]

        self.headers = scope["headers"]
        try:
            await self._answer(receive_and_keep, send)
        finally:
            self.is_done.set()


async def answer_nothing(_receive: Any, _send: Any) -> None: ...


async def fail(_receive: Any, _send: Any) -> None:
    raise ZeroDivisionError


async def fail_midway(_receive: Any, send: Any) -> None:
    await send(START)
    await send({"type": "http.response.body", "body": b"a part", "more_body": True})
    raise ZeroDivisionError


async def echo(receive: Any, send: Any) -> None:
    body = (await receive())["body"]
    await send(START)
    await send({"type": "http.response.body", "body": body})


async def echo_in_pieces(receive: Any, send: Any) -> None:
    body = (await receive())["body"]
    await send(START)
    for byte in body:
        await send({"type": "http.response.body", "body": bytes([byte]), "more_body": True})
    await send({"type": "http.response.body"})


async def echo_behind_the_head(receive: Any, send: Any) -> None:
    await send(START)
    await send({"type": "http.response.body", "body": (await receive())["body"]})


async def wait_for_end(receive: Any, send: Any) -> None:
    await receive()
    waiting = asyncio.create_task(receive())
    await asyncio.sleep(0)
    await send(START)
    await send({"type": "http.response.body", "body": b"x"})
    await waiting


async def wait_for_disconnect(receive: Any, _send: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    assert (await receive())["type"] == "http.disconnect"


@pytest.mark.parametrize("sent", [b"mine", b"not harmless", b"mine\r\nX-Request-ID: another"])
@pytest.mark.parametrize("answer", [answer_nothing, fail])
def test_an_application_that_does_not_answer_is_answered_for(
    answer: Answer, sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    app = App(answer)
    with serving(app) as port, caplog.at_level(logging.ERROR):
        received = exchange(port, LAST.replace(b"Host: x", b"Host: x\r\nX-Request-ID: " + sent))
    assert statuses(received) == [500]
    problem = problem_of(received)
    assert problem["code"] == "internal_error"
    assert "an application" in caplog.text
    # The application, the answer and the log have the same request id.
    ids = [value for name, value in app.headers if name == b"x-request-id"]
    assert ids == [problem["request_id"].encode()]
    assert caplog.records[0].__dict__["request_id"] == problem["request_id"]


def test_an_answer_that_fails_midway_does_not_look_complete() -> None:
    with serving(App(fail_midway)) as port, connected(port, GET) as client:
        received = b""
        with suppress(ConnectionResetError):
            received = read_to_end(client)
    assert not received.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("answer", [echo, echo_in_pieces, echo_behind_the_head])
def test_an_application_receives_the_whole_body_at_once(answer: Answer) -> None:
    app = App(answer)
    with serving(app) as port:
        received = exchange(port, post(b"hello", b"Connection: close"))
    assert app.received == [{"type": "http.request", "body": b"hello", "more_body": False}]
    assert b"".join(received.partition(b"\r\n\r\n")[2].split(b"\r\n")).replace(b"1", b"") in (
        b"5hello0",
        b"hello0",
    )


def test_an_application_that_waits_is_told_when_its_answer_is_complete() -> None:
    app = App(wait_for_end)
    with serving(app) as port:
        assert exchange(port, LAST).startswith(b"HTTP/1.1 200 ")
        assert app.is_done.wait(10)
    assert app.received[-1] == {"type": "http.disconnect"}


def test_an_application_that_waits_is_told_when_its_client_disconnects() -> None:
    app = App(wait_for_disconnect)
    with serving(app) as port:
        with connected(port, GET) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        assert app.is_done.wait(10)


class Aborted:
    """A connection that notes that it was aborted."""

    is_aborted = False

    def abort(self) -> None:
        self.is_aborted = True


async def cancel(connection: Any) -> None:
    async def never(_scope: Any, _receive: Any, _send: Any) -> None:
        await asyncio.Event().wait()

    request = Request(connection, "GET", "/", b"/", b"", "1.1", [], b"", 0.0)
    running = asyncio.create_task(asgi.run(never, request, {}, (None, None)))
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


def test_an_application_that_is_cancelled_leaves_no_client_waiting() -> None:
    connection = Aborted()
    asyncio.run(cancel(connection))
    assert connection.is_aborted
