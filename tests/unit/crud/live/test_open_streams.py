"""How many streams there may be, and how calls on them are spread over time."""

from collections import Counter
from typing import Any

import pytest

from crud_service.live.cursor import Cursor
from crud_service.live.events import HEARTBEAT
from crud_service.live.followers import Stream
from crud_service.live.open_streams import SHARES, OpenStreams
from crud_service.live.stream_limits import STREAM_LIMITS, StreamLimits
from tests.unit.crud.live.fake_feeds import Clock
from tests.unit.crud.live.test_followers import Connection, Feed
from web.problems import Overloaded, TooManyStreams
from web.server.request import Request


class Clocked(Connection):
    """A connection that notes when something was written, and how much in all at that time."""

    def __init__(self, clock: Clock, at: Counter[float]) -> None:
        super().__init__()
        self._clock, self._at = clock, at

    def write(self, chunk: bytes) -> None:
        super().write(chunk)
        self._at[self._clock.now] += 1


def stream_on(connection: Any) -> Stream:
    request = Request(connection, "GET", "/", b"/", b"", "1.1", [], b"", 0.0)
    return Stream(request, Feed(), Cursor(0, 0), lambda stream: None)


def test_a_process_has_no_more_than_it_may() -> None:
    streams = OpenStreams(2)
    streams.admit("a")
    streams.admit("b")
    with pytest.raises(Overloaded):
        streams.admit("c")
    streams.dismiss("a")
    streams.admit("c")


def test_an_application_has_no_more_than_its_part() -> None:
    streams = OpenStreams(10, StreamLimits(of_an_application=1))
    streams.admit("a")
    with pytest.raises(TooManyStreams):
        streams.admit("a")
    streams.admit("b")
    streams.dismiss("a")
    streams.admit("a")


def test_each_stream_gets_a_heartbeat_in_time(clock: Clock) -> None:
    streams, at = OpenStreams(1000), Counter[float]()
    connections = [Clocked(clock, at) for _ in range(300)]
    for connection in connections:
        streams.add(stream_on(connection))
    clock.pass_seconds(3 * STREAM_LIMITS.heartbeat_seconds + 0.1)
    assert {connection.written for connection in connections} == {3 * HEARTBEAT}


def test_no_moment_has_many_heartbeats(clock: Clock) -> None:
    """Ten thousand at once would hold up everything else."""
    streams, at = OpenStreams(10_000), Counter[float]()
    for _ in range(100 * SHARES):
        streams.add(stream_on(Clocked(clock, at)))
    clock.pass_seconds(STREAM_LIMITS.heartbeat_seconds + 0.1)
    assert max(at.values()) < 300


def test_a_stream_without_room_gets_no_heartbeat(clock: Clock) -> None:
    streams, connection = OpenStreams(1), Connection()
    connection.is_writable = False
    streams.add(stream_on(connection))
    clock.pass_seconds(60)
    assert connection.written == b""


def test_streams_end_after_their_lifetime_at_different_times(clock: Clock) -> None:
    streams, connections = OpenStreams(100), [Connection() for _ in range(100)]
    for connection in connections:
        streams.add(stream_on(connection))
    clock.pass_seconds(0.9 * STREAM_LIMITS.lifetime_seconds - 1)
    assert not any(connection.is_ended for connection in connections)
    clock.pass_seconds(0.1 * STREAM_LIMITS.lifetime_seconds)
    assert 10 < sum(connection.is_ended for connection in connections) < 90
    clock.pass_seconds(0.1 * STREAM_LIMITS.lifetime_seconds + 20)
    assert all(connection.is_ended for connection in connections)


def test_a_stream_that_was_removed_gets_nothing(clock: Clock) -> None:
    streams, connection = OpenStreams(1), Connection()
    stream = stream_on(connection)
    streams.add(stream)
    streams.remove(stream)
    clock.pass_seconds(60)
    assert (connection.written, connection.is_ended) == (b"", False)
