"""Streams and waiting lists: each leaves once, however many reasons there are to leave."""

import asyncio
from typing import Any

import pytest

from crud_service.live.cursor import Cursor
from crud_service.live.followers import Stream, Waiter
from web.server.request import Request

BODY = b"ignored"


class Connection:
    """A connection that keeps what is written; `is_closing` once it was aborted."""

    def __init__(self) -> None:
        self.written = b""
        self.is_writable = True
        self.is_closing = self.is_ended = False
        self.pinned = len(BODY)

    def write(self, chunk: bytes) -> None:
        self.written += chunk

    def end(self) -> None:
        self.is_ended = not self.is_closing

    def unpin(self) -> None:
        self.pinned = 0


class Feed:
    """Counts who resumes and who leaves."""

    def __init__(self) -> None:
        self.resumed = self.removed = 0

    def resume(self, stream: Stream) -> None:
        self.resumed += 1

    def remove(self, stream: Stream) -> None:
        self.removed += 1


class Open:
    """A stream and everything around it."""

    def __init__(self) -> None:
        self.connection: Any = Connection()
        self.request = Request(
            self.connection, "GET", "/", b"/", b"a=1", "1.1", [(b"host", b"crud")], BODY, 0.0
        )
        self.feed, self.left = Feed(), 0
        self.stream = Stream(self.request, self.feed, Cursor(1, 0), self._leave)

    def _leave(self, stream: Stream) -> None:
        self.left += 1

    def disconnect(self) -> None:
        """Do what a connection does once it is lost."""
        on_disconnect = self.request.on_disconnect
        self.request.detach()
        if on_disconnect is not None:
            on_disconnect()


@pytest.fixture
def opened() -> Open:
    return Open()


def test_a_stream_keeps_nothing_of_what_its_client_sent(opened: Open) -> None:
    request = opened.request
    assert (request.headers, request.query, request.body) == ([], b"", b"")
    assert opened.connection.pinned == 0


def test_a_client_that_disconnects_leaves(opened: Open) -> None:
    opened.disconnect()
    assert (opened.left, opened.feed.removed) == (1, 1)


def test_a_stream_that_ends_leaves(opened: Open) -> None:
    opened.stream.end()
    assert (opened.left, opened.feed.removed, opened.connection.is_ended) == (1, 1, True)


def test_a_stream_that_ends_on_a_connection_being_aborted_leaves_once(opened: Open) -> None:
    """An aborted connection is lost a moment later; shutdown or the lifetime may come between."""
    opened.connection.is_closing = True
    opened.stream.end()
    opened.disconnect()
    assert (opened.left, opened.feed.removed) == (1, 1)


def test_a_stream_that_has_left_is_not_resumed(opened: Open) -> None:
    opened.stream.end()
    assert opened.request.on_writable is None
    assert opened.request.on_shutdown is None


def test_room_resumes_a_stream(opened: Open) -> None:
    assert opened.request.on_writable is not None
    opened.request.on_writable()
    assert opened.feed.resumed == 1


def test_a_stream_takes_more_while_the_client_has_room(opened: Open) -> None:
    assert opened.stream.take(b"one")
    opened.connection.is_writable = False
    assert not opened.stream.take(b"two")
    assert opened.connection.written == b"onetwo"


@pytest.mark.parametrize("created", [False, True])
def test_a_list_that_stops_waiting_has_no_room_for_more(created: bool) -> None:
    """Else its feed would read on for it when more follows."""
    assert Waiter(Cursor(1, 0)).take(b"events", created=created) is not created


@pytest.mark.parametrize("created", [False, True])
def test_only_a_new_message_ends_a_wait(created: bool) -> None:
    async def scenario() -> float:
        started = asyncio.get_running_loop().time()
        waiter = Waiter(Cursor(1, 0))
        waiter.take(b"events", created=created)
        await waiter.wait(20 if created else 0.1)
        return asyncio.get_running_loop().time() - started

    seconds = asyncio.run(scenario())
    assert seconds < 20 if created else seconds >= 0.1
