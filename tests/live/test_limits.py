"""How many streams there may be, how long they last, and how they end."""

import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from urllib.parse import urlsplit

import pytest

from bench.running_stack import RunningStack
from tests.api_client import Api
from tests.fault.rig.processes import STOP_SECONDS
from tests.integration.conftest import CrudServer
from tests.live.crud_process import StartCrud, crud_processes
from tests.live.listener import Listener
from tests.live.test_requests import refusal
from tests.polling import eventually
from tests.stopwatch import Stopwatch

STREAMS_OF_AN_APPLICATION = 1000


@pytest.fixture
def start_crud(stack: RunningStack) -> Iterator[StartCrud]:
    with crud_processes(stack) as start:
        yield start


@pytest.fixture(scope="module")
def shared_crud(stack: RunningStack) -> Iterator[CrudServer]:
    """One with the usual limits, for tests that do not end it."""
    with crud_processes(stack) as start:
        yield start()


@pytest.fixture
def application(api: Api) -> str:
    """An application whose first chat has a message."""
    application = api.application()
    chat = api.chat(application)
    api.message(chat, "the first")
    api.wait_for_numbers(f"{chat}/messages", [1])
    return application


WAITING = "/chats/1/messages?after=1&wait=60"
LASTING = ("/stream", "/chats/1/messages/stream", WAITING)
# Sooner than at the next heartbeat: all who lost a connection come back at once.
LEFT_SECONDS = 12


def path_of(application: str) -> str:
    return f"{application}/chats/1/messages/stream"


def test_more_streams_than_a_process_may_have_are_refused(
    start_crud: StartCrud, application: str
) -> None:
    crud = start_crud(MAX_STREAMS="2")
    with (
        Listener(crud.url, path_of(application)) as first,
        Listener(crud.url, f"{application}/stream") as second,
    ):
        assert [first.next().type, second.next().type] == ["ready", "ready"]
        for path in (path_of(application), f"{application}/stream"):
            with Listener(crud.url, path) as third:
                refusal(third, 503, "overloaded")
                assert int(third.headers["retry-after"]) > 0
    path = path_of(application)
    assert eventually(lambda: status_of(crud, path), lambda it: it == 200, LEFT_SECONDS) == 200


def status_of(crud: CrudServer, path: str) -> int:
    with Listener(crud.url, path) as stream:
        return stream.status


def test_one_application_may_have_a_thousand_streams(
    shared_crud: CrudServer, api: Api, application: str
) -> None:
    crud = shared_crud
    streams = [Listener(crud.url, path_of(application)) for _ in range(STREAMS_OF_AN_APPLICATION)]
    try:
        assert {stream.next().type for stream in streams} == {"ready"}
        for path in (path_of(application), f"{application}/stream"):
            with Listener(crud.url, path) as another:
                refusal(another, 429, "too_many_streams")
                assert int(another.headers["retry-after"]) > 0
        other = api.application()
        with Listener(crud.url, f"{other}/stream") as neighbour:
            assert neighbour.next().type == "ready"
        api.message(f"{application}/chats/1", "to all of them")
        assert {stream.next().id for stream in streams} == {"2.0"}
    finally:
        for stream in streams:
            stream.__exit__()
    path = path_of(application)
    assert eventually(lambda: status_of(crud, path), lambda it: it == 200, LEFT_SECONDS) == 200


def test_an_idle_stream_gets_a_comment_now_and_then(
    start_crud: StartCrud, application: str
) -> None:
    crud = start_crud(HEARTBEAT_IN_A_SECOND)
    for path in (path_of(application), f"{application}/stream"):
        with Listener(crud.url, path) as stream:
            stream.next()
            before, started = stream.stream.comments, time.monotonic()
            heard = eventually(partial(comments_after, stream, before), lambda it: it > 1, 30)
            assert 2 <= heard <= 3 * (time.monotonic() - started)
            assert stream.stream.is_between_events


def comments_after(stream: Listener, before: int) -> int:
    """Return how many comments have come a second later; no event comes meanwhile."""
    assert stream.quiet(1)
    return stream.stream.comments - before


def test_a_stream_ends_after_a_while_between_two_events(
    start_crud: StartCrud, api: Api, application: str
) -> None:
    crud = start_crud(LIFETIME_OF_TWO_SECONDS)
    streams = [Listener(crud.url, path_of(application)) for _ in range(20)]
    started = time.monotonic()
    try:
        assert {stream.next().id for stream in streams} == {"1.0"}
        for number in range(2, 12):
            api.message(f"{application}/chats/1", f"message {number}")
        for stream in streams:
            ended = [event.id for event in stream.rest()]
            assert ended == [f"{number}.0" for number in range(2, 12)]
            assert stream.is_complete
            assert stream.stream.is_between_events
        assert time.monotonic() - started > 1.5
    finally:
        for stream in streams:
            stream.__exit__()


def test_sigterm_ends_streams_after_a_whole_event(
    start_crud: StartCrud, api: Api, application: str
) -> None:
    crud = start_crud()
    streams = [Listener(crud.url, path_of(application)) for _ in range(20)]
    try:
        assert {stream.next().type for stream in streams} == {"ready"}
        api.message(f"{application}/chats/1", "語" * 20_000)
        with Stopwatch() as watch:
            output = crud.stop()
        assert watch.seconds < STOP_SECONDS
        assert crud.process.returncode == 0, output
        assert "Traceback" not in output, output
        for stream in streams:
            events = stream.rest()
            assert [event.id for event in events] in ([], ["2.0"])
            assert stream.is_complete
            assert stream.stream.is_between_events
    finally:
        for stream in streams:
            stream.__exit__()


def test_waiting_lists_are_answered_when_the_process_ends(
    start_crud: StartCrud, application: str
) -> None:
    crud = start_crud()
    path = f"{application}/chats/1/messages?after=1&wait=60"
    with Listener(crud.url, path) as waiting:
        assert waiting.quiet(1)
        output = crud.stop()
        assert crud.process.returncode == 0, output
        assert waiting.status in (200, 503)
        waiting.rest()
        assert waiting.is_complete


def test_bodies_of_requests_that_last_leave_room_for_those_of_others(
    start_crud: StartCrud, api: Api, application: str
) -> None:
    crud = start_crud("Limits(arriving_bytes=3 * MIB)")
    body = b"x" * (1024 * 1024)
    for path in LASTING:
        with ExitStack() as streams:
            for _ in range(5):
                stream = streams.enter_context(Listener(crud.url, application + path, body=body))
                if path == WAITING:
                    assert stream.quiet(0.3)
                else:
                    assert stream.next().type == "ready"
            fields = {"name": "another", "ignored": "x" * 1_000_000}
            answer = api.client.post(f"{crud.url}/applications", json=fields)
            assert answer.status_code == 201, answer.text


@pytest.mark.parametrize("path", LASTING)
def test_a_client_that_closes_its_half_with_the_request_keeps_no_place(
    shared_crud: CrudServer, application: str, path: str
) -> None:
    """A client that is gone looks the same, and would keep its place for a while."""
    with Listener(shared_crud.url, application + path, is_half_closed=True) as stream:
        assert stream.status == 200
        assert [event.type for event in stream.rest(LEFT_SECONDS)] in (["ready"], [])
        assert stream.is_complete


def test_streams_that_are_asked_for_during_a_shutdown_end_at_once(
    start_crud: StartCrud, application: str
) -> None:
    crud = start_crud()
    address = ("127.0.0.1", urlsplit(crud.url).port)
    with ExitStack() as connections:
        clients = [
            connections.enter_context(socket.create_connection(address, timeout=LEFT_SECONDS))
            for _ in LASTING
        ]
        time.sleep(0.2)
        with Stopwatch() as watch:
            crud.process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            for client, path in zip(clients, LASTING, strict=True):
                head = f"GET {application}{path} HTTP/1.0\r\nHost: crud\r\n\r\n"
                client.sendall(head.encode())
            for client in clients:
                received = b"".join(iter(partial(client.recv, 65536), b""))
                assert received.startswith(b"HTTP/1.1 200 ")
            assert crud.process.wait(60) == 0
    assert watch.seconds < STOP_SECONDS


def test_a_list_does_not_wait_with_a_long_head(shared_crud: CrudServer, application: str) -> None:
    """A thousand of them would hold megabytes for a minute."""
    with Listener(shared_crud.url, f"{application}{WAITING}&x={'x' * 20_000}") as waiting:
        refusal(waiting, 431, "headers_too_large")


HEARTBEAT_IN_A_SECOND = "stream_limits=StreamLimits(heartbeat_seconds=1.0)"
LIFETIME_OF_TWO_SECONDS = "stream_limits=StreamLimits(lifetime_seconds=2.0, heartbeat_seconds=1.0)"
