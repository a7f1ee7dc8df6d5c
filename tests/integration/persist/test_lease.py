"""Leases on a real Valkey: who holds one, for how long, and what is left behind."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
import redis

from contract.keys import ACCEPTED, LEASE_PERSIST, WAKE_UP_PERSIST
from tests.integration.accepting import accept
from tests.polling import wait_until

if TYPE_CHECKING:
    from crud_service.duties.lease import Lease

    LeaseOf = Callable[..., Lease]


@pytest.fixture
def lease_of(stream: redis.Redis) -> LeaseOf:
    """Return a function that creates the persister's lease for a holder of a given name."""
    from crud_service.duties.lease import Lease, persisting

    def make(holder: str = "", ttl_ms: int = 60_000, renewal_seconds: float = 1.0) -> Lease:
        return Lease(stream, persisting(), holder, ttl_ms, renewal_seconds)

    return make


def test_one_worker_at_a_time_has_a_lease(lease_of: LeaseOf) -> None:
    first, second = lease_of(), lease_of()
    assert first.take()
    assert first.take()
    assert not second.take()
    first.give_back()
    assert second.take()


def test_a_worker_continues_with_the_lease_of_its_dead_predecessor(lease_of: LeaseOf) -> None:
    assert lease_of("persist@a").take()
    assert not lease_of("persist@b").take()
    assert lease_of("persist@a").take()


def test_a_holder_knows_by_its_clock_that_its_lease_expired(lease_of: LeaseOf) -> None:
    assert lease_of("a").take()
    lease, other = lease_of("a", ttl_ms=60), lease_of("b")
    assert lease.take()
    wait_until(lambda: not lease.is_held(), 30)
    wait_until(other.take, 30)
    assert other.is_held()
    assert not lease.hold()


def test_a_lease_is_renewed_while_its_holder_works(lease_of: LeaseOf, stream: redis.Redis) -> None:
    from crud_service.duties import lease as module

    lease = lease_of(ttl_ms=5000, renewal_seconds=0.05)
    seen = []

    def work() -> None:
        for _ in range(6):
            time.sleep(1)
            seen.append((lease.is_held(), lease_of().take()))

    module.work_under(lease, work)
    assert seen == [(True, False)] * 6
    assert not stream.exists(LEASE_PERSIST)


def test_the_flag_goes_with_the_lease(lease_of: LeaseOf, stream: redis.Redis) -> None:
    lease = lease_of()
    lease.take()
    stream.set(WAKE_UP_PERSIST, "1")
    assert not lease.give_back()
    assert not stream.exists(LEASE_PERSIST, WAKE_UP_PERSIST)


def test_after_a_failure_no_wake_up_is_sent_for_a_while(
    lease_of: LeaseOf, stream: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    from crud_service.duties import lease as module

    monkeypatch.setattr(module, "PAUSE_MS", 60_000)

    def fail() -> None:
        raise redis.ConnectionError

    with pytest.raises(redis.ConnectionError):
        module.work_under(lease_of(), fail)
    assert not stream.exists(LEASE_PERSIST)
    assert 0 < stream.pttl(WAKE_UP_PERSIST) <= 60_000


def test_releasing_the_lease_reports_late_work(lease_of: LeaseOf, stream: redis.Redis) -> None:
    lease = lease_of()
    lease.take()
    accept(stream, 1)
    assert lease.give_back()
    stream.xtrim(ACCEPTED, maxlen=0)
    lease.take()
    assert not lease.give_back()


def test_a_lost_lease_is_left_to_its_new_holder(lease_of: LeaseOf, stream: redis.Redis) -> None:
    lease = lease_of()
    lease.take()
    stream.set(LEASE_PERSIST, "another worker")
    stream.set(WAKE_UP_PERSIST, "1")
    accept(stream, 1)
    assert not lease.give_back()
    assert stream.get(LEASE_PERSIST) == b"another worker"
    assert stream.exists(WAKE_UP_PERSIST)
