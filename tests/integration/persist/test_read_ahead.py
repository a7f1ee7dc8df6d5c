"""The next batch is read while one is stored."""

from collections.abc import Callable

import pytest
import redis

from contract.keys import ACCEPTED, WORKER_METRICS
from tests.integration.accepting import accept, accept_many, bodies, counts_that_differ, query
from tests.integration.conftest import BetweenCalls
from tests.polling import wait_until


def times_read(stream: redis.Redis) -> int:
    calls: int = stream.info("commandstats")["cmdstat_xrange"]["calls"]
    return calls


def test_the_next_batch_is_read_before_one_is_removed(
    database: str, stream: redis.Redis, drain: Callable[[], None], between_calls: BetweenCalls
) -> None:
    """What is stored after the stream was lost can only have been read before."""
    from crud_service.persist import drain as draining

    def lose_what_is_read() -> None:
        accept_many(stream, 50, 50)
        reads = times_read(stream)
        wait_until(lambda: times_read(stream) > reads, 10)
        stream.delete(ACCEPTED)

    accept_many(stream, 0, 50)
    between_calls(draining, "remove_and_count", happen=lose_what_is_read)
    drain()
    assert query(database, "SELECT count(*) FROM messages") == [(100,)]
    assert counts_that_differ(database) == []
    assert stream.hget(WORKER_METRICS, "persist_replays") in (None, b"0")


def test_a_stream_that_was_lost_is_read_from_its_start(
    database: str, stream: redis.Redis, between_calls: BetweenCalls
) -> None:
    from crud_service.duties.lease import Lease, persisting
    from crud_service.persist import drain

    def lose() -> None:
        stream.delete(ACCEPTED)
        accept(stream, 2, "second", entry_id="5-0")

    accept(stream, 1, "first")
    between_calls(drain, "log_batch", happen=lose)
    drain.drain(stream, Lease(stream, persisting()), stay=False)
    assert bodies(database) == [(1, "first"), (2, "second")]


def test_what_cannot_be_read_ahead_is_read_later(
    database: str, stream: redis.Redis, drain: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    from crud_service.persist import accepted

    attempts = []

    def fail(*arguments: object) -> None:
        attempts.append(arguments)
        raise redis.ConnectionError

    # Of that module's own function alone: `drain` has the one that works.
    monkeypatch.setattr(accepted, "fill", fail)
    monkeypatch.setattr(accepted, "READ_AHEAD_SECONDS", 0)
    accept_many(stream, 0, 5000)
    drain()
    assert attempts
    assert query(database, "SELECT count(*) FROM messages") == [(5000,)]
