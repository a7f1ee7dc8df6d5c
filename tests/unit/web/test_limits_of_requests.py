"""What is too long, too much or at odds with itself is refused as soon as that is known."""

import asyncio
import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import uvicorn
from uvicorn.server import ServerState

from local_stack.applications import ROOT
from tests.unit.web.test_connections import GET, Later, connected, echo, exchange
from tests.unit.web.web_corpus import post
from tests.unit.web.web_server import Machine, Transport, serving, statuses
from web.problems import BodyTooLarge, MalformedRequest
from web.server import limits
from web.server.body import ChunkedBody
from web.server.budget import Budget
from web.server.limits import Limits
from web.server.protocol import Protocol
from web.server.reader_watch import ReaderWatch
from web.server.request import Request
from web.server.serving import options


def test_a_body_of_tiny_chunks_is_bounded_on_the_wire() -> None:
    """Their extensions cost as much to read as what they hold."""
    body, chunk = ChunkedBody(), b"1;" + b"x" * 200 + b"\r\nx\r\n"
    for _ in range(limits.CHUNKED_WIRE_BYTES // len(chunk)):
        assert body.feed(chunk) is None
    with pytest.raises(BodyTooLarge):
        body.feed(chunk)


def test_a_long_extension_of_a_chunk_is_refused() -> None:
    line = b"1;" + b"x" * limits.CHUNK_LINE_BYTES + b"\r\nx\r\n"
    with pytest.raises(MalformedRequest):
        ChunkedBody().feed(line)


@pytest.mark.parametrize("end", [b"", b"\r\n\r\n"])
def test_long_trailers_are_refused(end: bytes) -> None:
    with pytest.raises(BodyTooLarge):
        ChunkedBody().feed(b"0\r\nx-a: " + b"x" * limits.TRAILER_BYTES + end)


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"http://host", b"/", b""),
        (b"http://host?a=b", b"/", b"a=b"),
        (b"https://host/a?b#c", b"/a", b"b"),
        (b"/a#b?c", b"/a", b""),
    ],
)
def test_a_target_is_split_in_every_form(target: bytes, path: bytes, query: bytes) -> None:
    machine = Machine()
    outcome = machine.read([b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n"])
    machine.close()
    assert [(seen.raw_path, seen.query) for seen in outcome.seen] == [(path, query)]


@pytest.mark.parametrize("lines", [b"Host: x\r\nAccept: y\r\n", b"Accept: y\r\n"])
@pytest.mark.parametrize("host", [b"chat.example:81", b"[::1]"])
def test_the_host_of_an_absolute_target_replaces_the_header(lines: bytes, host: bytes) -> None:
    machine = Machine()
    version = b"1.1" if b"Host" in lines else b"1.0"
    raw = b"GET http://%s/a HTTP/%s\r\n%s\r\n" % (host, version, lines)
    outcome = machine.read([raw])
    machine.close()
    assert [seen.headers for seen in outcome.seen] == [((b"host", host), (b"accept", b"y"))]


@pytest.mark.parametrize("target", [b"a", b"http://user@host/a"])
def test_a_target_without_a_slash_or_with_a_user_is_400(target: bytes) -> None:
    machine = Machine()
    assert machine.read([b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % target]).statuses == [400]
    machine.close()


def test_a_budget_takes_from_those_that_make_no_progress() -> None:
    gave_way: list[str] = []
    budget: Budget[str] = Budget(100, gave_way.append)
    assert budget.hold("old", 40)
    assert budget.hold("new", 40)
    assert budget.pin(50)
    assert gave_way == ["old"]
    assert not budget.pin(200)
    assert gave_way == ["old", "new"]
    assert budget.total == 50
    assert not budget.hold("alone", 60)
    budget.release("alone")
    budget.unpin(50)
    assert budget.total == 0


def test_large_bodies_leave_room_for_small_ones() -> None:
    budget: Budget[str] = Budget(8 * limits.MIB, lambda _: None)
    assert [budget.pin(limits.MIB) for _ in range(8)] == [True] * 6 + [False] * 2
    assert budget.pin(2)
    budget.unpin(limits.MIB)
    assert budget.pin(limits.MIB)


@pytest.mark.parametrize(
    ("files", "connections"),
    [(1024, 768), (10, 1), (10**6, 12_000), (resource.RLIM_INFINITY, 12_000)],
)
def test_connections_are_bounded_by_open_files(files: int, connections: int) -> None:
    assert Limits().connection_ceiling(files) == connections


@pytest.mark.parametrize(
    ("files", "most", "wanted"),
    [
        (1024, 10**6, 12_256),
        (1024, 4096, 4096),
        (1024, resource.RLIM_INFINITY, 12_256),
        (20_000, 10**6, 20_000),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, resource.RLIM_INFINITY),
    ],
)
def test_open_files_are_raised_to_what_connections_need(files: int, most: int, wanted: int) -> None:
    assert Limits().files_wanted(files, most) == wanted


@pytest.mark.parametrize(
    "raw",
    [
        post(b"x" * 5000, b"Connection: close")[:3000],  # is still arriving
        post(b"x" * 5000, b"Connection: close"),  # whole at once
    ],
)
def test_a_body_without_room_is_503(raw: bytes) -> None:
    with serving(Later(), Limits(arriving_bytes=1000)) as port:
        assert statuses(exchange(port, raw)) == [503]


def test_the_body_of_a_request_whose_answer_has_begun_takes_no_room() -> None:
    body = b"x" * 600
    app = Later(lambda request: echo(request) if request.path == "/last" else begin(request))
    with (
        serving(app, Limits(arriving_bytes=1000)) as port,
        connected(port, post(body)) as reader,
    ):
        assert reader.recv(12) == b"HTTP/1.1 200"
        received = exchange(port, post(body, b"Connection: close", target=b"/last"))
        assert statuses(received) == [200]
        assert received.endswith(body)
        assert [len(request.body) for request in app.requests] == [0, 600]


def begin(request: Request) -> None:
    """Begin an answer whose end does not come."""
    request.begin(200, b"content-length: 1\r\n", 1)


@pytest.mark.parametrize("pieces", [[GET + b"x" * 5000], [GET, b"x" * 5000]])
def test_pipelined_data_without_room_is_dropped_and_the_answer_is_the_last(
    pieces: list[bytes],
) -> None:
    def echo_late(request: Request) -> None:
        asyncio.get_running_loop().call_later(0.5, echo, request)

    with serving(Later(echo_late), Limits(arriving_bytes=1000)) as port:
        received = exchange(port, *pieces)
    assert statuses(received) == [200]
    assert b"connection: close\r\n" in received


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (b"Host: x\r\nContent-Length: 3000000", 413),
        (b"A: B", 400),
        (b"Host: x\r\nA: " + b"a" * limits.HEAD_BYTES, 431),
    ],
)
def test_a_refused_head_request_gets_no_body(lines: bytes, status: int) -> None:
    with serving(Later()) as port:
        received = exchange(port, b"HEAD /a HTTP/1.1\r\n" + lines + b"\r\n\r\n")
    assert statuses(received) == [status]
    assert received.endswith(b"\r\n\r\n")


@contextmanager
def opened(
    app: Later,
    loop: asyncio.AbstractEventLoop | None = None,
    transport: Transport | None = None,
) -> Iterator[tuple[Protocol, Transport]]:
    """A connection without a network."""
    loop = loop or asyncio.new_event_loop()
    config = uvicorn.Config(app, **options("127.0.0.1", 0) | {"factory": False})
    config.load()
    connection = Protocol(config, ServerState(), {}, loop)
    transport = transport or Transport()
    connection.connection_made(transport)
    asyncio.set_event_loop(loop)  # where `Later` answers
    try:
        yield connection, transport
    finally:
        connection.connection_lost(None)
        asyncio.set_event_loop(None)
        loop.close()


class Passing(asyncio.SelectorEventLoop):
    """A loop whose time a test lets pass."""

    passed = 0.0

    def time(self) -> float:
        return super().time() + self.passed


def test_a_request_that_is_still_arriving_at_the_end_of_a_shutdown_is_408() -> None:
    loop = Passing()
    with opened(Later(), loop) as (connection, transport):
        connection.data_received(b"GET /a HTTP/1.1\r\n")
        connection.shutdown()
        loop.passed = limits.GRACE_SECONDS
        loop.call_soon(loop.stop)
        loop.run_forever()
        assert transport.written.startswith(b"HTTP/1.1 408 ")


def test_a_connection_is_refused_once() -> None:
    with opened(Later()) as (connection, transport):
        connection.data_received(b"nonsense\r\n\r\n")
        connection.drop_upload()
        assert statuses(transport.written) == [400]


class Closed:
    """A transport whose socket is closed, which the kernel no longer knows."""

    is_aborted = False

    def get_extra_info(self, _name: str) -> "Closed":
        return self

    def fileno(self) -> int:
        return 10**6

    def abort(self) -> None:
        self.is_aborted = True


def test_a_closed_connection_leaves_nothing_unread() -> None:
    loop, transport = asyncio.new_event_loop(), Closed()
    watch = ReaderWatch(loop, transport, 0.0)
    watch.start()
    loop.call_later(0.01, loop.stop)
    loop.run_forever()
    loop.close()
    assert transport.is_aborted


class Unread(Transport):
    """A transport on a closed socket, whose client has not read everything."""

    def get_extra_info(self, name: str, default: object = None) -> object:
        return Closed()


def test_a_client_that_reads_on_after_it_was_refused_gets_time_to_read_the_refusal() -> None:
    loop = Passing()
    with opened(Later(), loop, Unread()) as (connection, transport):
        connection.data_received(b"GET /a HTTP/1.1\r\n")
        connection.pause_writing()
        connection.shutdown()
        loop.passed = limits.GRACE_SECONDS - 0.5
        loop.call_soon(loop.stop)
        loop.run_forever()
        assert statuses(transport.written) == [408]
        connection.resume_writing()
        assert not transport.closed


FAILING = """
import resource, sys
from web.server.limits import LIMITS, raise_descriptor_limit
from web.server.serving import serve
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (500, most))
raise_descriptor_limit(LIMITS)
assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == min(most, 12_256)

async def application(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no store"})

serve(lambda: application, "127.0.0.1", 0)
"""


def test_an_application_that_does_not_start_ends_the_process_with_3() -> None:
    done = subprocess.run([sys.executable, "-c", FAILING], cwd=ROOT, timeout=60, check=False)
    assert done.returncode == 3


def test_a_request_tells_how_long_its_head_was() -> None:
    machine = Machine()
    head = b"GET /\xc3\xa9?query HTTP/1.1\r\nHost: x\r\nX-A:   1234\r\n\r\n"
    outcome = machine.read([head])
    machine.close()
    assert [seen.head_bytes for seen in outcome.seen] == [len(head)]


FEW_FILES = """
import asyncio
import json
import resource
from types import SimpleNamespace
from web.json_logs import configure
from web.server.front import Front
from web.server.limits import LIMITS, raise_descriptor_limit
resource.setrlimit(resource.RLIMIT_NOFILE, (300, 300))
raise_descriptor_limit(LIMITS)
configure("crud", "info")
Front(SimpleNamespace(loaded_app=None), None, {}, asyncio.new_event_loop(), LIMITS)
"""


def test_the_log_names_a_limit_of_open_files_that_leaves_room_for_few_clients() -> None:
    command = [sys.executable, "-c", FEW_FILES]
    done = subprocess.run(command, cwd=ROOT, timeout=60, check=True, capture_output=True, text=True)
    message = "300 open files leave room for 44 of 12000 connections: raise the hard limit"
    assert (json.loads(done.stdout)["message"], done.stderr) == (message, "")
