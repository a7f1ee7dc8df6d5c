"""How soon a client that has stopped reading is noticed."""

import asyncio
import socket
from collections.abc import Iterator

import pytest

from web.server.reader_watch import ReaderWatch

SECONDS = 20.0
STEP = 1.0


class Unhurried(asyncio.SelectorEventLoop):
    """A loop whose time passes when a test says so."""

    now = 0.0

    def time(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass, in steps in which what is due is called."""
        for _ in range(round(seconds / STEP)):
            self.now += STEP
            self.call_soon(self.stop)
            self.run_forever()


class Unread:
    """A transport that holds bytes which its client has not read."""

    def __init__(self, connection: socket.socket, unread: int) -> None:
        self._connection = connection
        self.unread = unread
        self.is_aborted = False

    def get_extra_info(self, _name: str) -> socket.socket:
        return self._connection

    def get_write_buffer_size(self) -> int:
        return self.unread

    def abort(self) -> None:
        self.is_aborted = True


@pytest.fixture
def loop() -> Iterator[Unhurried]:
    loop = Unhurried()
    yield loop
    loop.close()


@pytest.fixture
def transport() -> Iterator[Unread]:
    with socket.socket() as connection:
        yield Unread(connection, unread=100)


def test_seconds_count_from_the_last_byte_that_was_read(loop: Unhurried, transport: Unread) -> None:
    watch = ReaderWatch(loop, transport, SECONDS)
    watch.start()
    transport.unread -= 1
    loop.advance(SECONDS)
    assert not transport.is_aborted
    loop.advance(SECONDS / 5)
    assert transport.is_aborted


def test_a_client_that_reads_a_little_is_left_alone(loop: Unhurried, transport: Unread) -> None:
    watch = ReaderWatch(loop, transport, SECONDS)
    watch.start()
    for _ in range(5):
        transport.unread -= 1
        loop.advance(SECONDS * 0.9)
    assert not transport.is_aborted


def test_a_client_that_is_expected_to_read_again_has_all_the_time(
    loop: Unhurried, transport: Unread
) -> None:
    watch = ReaderWatch(loop, transport, SECONDS)
    for _ in range(2):
        watch.start()
        loop.advance(SECONDS * 0.9)
        watch.stop()
    assert not transport.is_aborted
