"""Creations are answered when a replica has them on disk too, and not before."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from contract import keys
from numbering_service.creation import Answer, Created, Creation
from tests.integration.numbering.surroundings import (
    A,
    Numbering,
    Valkey,
    Waiter,
    batching,
    freeze,
    number,
    primary_and_replica,
    request,
    storage,
)
from tests.polling import wait_until
from web.problems import StoreUnavailable

CREATIONS = [Creation(A, 1, f"body {n}", "r", f"key {n}") for n in range(3)]


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Valkey, Valkey]]:
    with primary_and_replica(tmp_path) as servers:
        servers[0].client.set(keys.message_sequence(A, 1), 0)
        yield servers


def bodies(server: Valkey) -> list[bytes]:
    return [fields[b"body"] for _entry_id, fields in server.client.xrange(keys.ACCEPTED)]


def create(server: Valkey, *creations: Creation, patience_seconds: float = 30) -> list[Answer]:
    """Have creations acknowledged by one replica."""
    return asyncio.run(
        number(server.url, *creations, replicas=1, patience_seconds=patience_seconds)
    )


def while_frozen(pair: tuple[Valkey, Valkey], check: Callable[[], None]) -> None:
    """Check something while the replica stands still, and let it run again."""
    freeze(pair[1].pid)
    try:
        check()
    finally:
        pair[1].thaw()


def test_an_answered_creation_is_on_the_replica(pair: tuple[Valkey, Valkey]) -> None:
    first, second = pair
    assert create(first, *CREATIONS) == [Created(1), Created(2), Created(3)]
    second.client.replicaof("NO", "ONE")
    assert bodies(second) == [b"body 0", b"body 1", b"body 2"]


def test_without_an_acknowledgement_the_outcome_is_unknown(pair: tuple[Valkey, Valkey]) -> None:
    first, _second = pair

    def check() -> None:
        [answer] = create(first, CREATIONS[0], patience_seconds=3)
        assert isinstance(answer, StoreUnavailable)
        assert "not known" in str(answer.detail)

    while_frozen(pair, check)
    assert create(first, CREATIONS[0]) == [Created(1, replayed=True)]


def test_a_repeat_is_not_answered_from_what_the_primary_alone_has(
    pair: tuple[Valkey, Valkey],
) -> None:
    first, _second = pair

    def check() -> None:
        for _ in range(2):  # the second finds the number under its idempotency key
            [answer] = create(first, CREATIONS[0], patience_seconds=3)
            assert isinstance(answer, StoreUnavailable)
        assert bodies(first) == [b"body 0"]

    while_frozen(pair, check)


def test_a_replica_that_comes_back_in_time_is_waited_for(pair: tuple[Valkey, Valkey]) -> None:
    first, second = pair
    waiters = [Waiter(creation) for creation in CREATIONS]

    async def whole() -> None:
        async with batching(first.url, replicas=1, patience_seconds=30) as batcher:
            for waiter in waiters:
                batcher.submit(waiter)
                await asyncio.sleep(0.1)
            await asyncio.sleep(2.5)  # longer than a call may take: it was sent again
            assert not any(waiter.answers for waiter in waiters)
            second.thaw()

    freeze(second.pid)
    try:
        asyncio.run(asyncio.wait_for(whole(), 60))
    finally:
        second.thaw()
    assert [waiter.number for waiter in waiters] == [1, 2, 3]
    assert bodies(second) == [b"body 0", b"body 1", b"body 2"]


def test_more_replicas_than_there_are_never_acknowledge(pair: tuple[Valkey, Valkey]) -> None:
    answers = asyncio.run(number(pair[0].url, CREATIONS[0], replicas=2, patience_seconds=1))
    assert isinstance(answers[0], StoreUnavailable)


@pytest.mark.parametrize("server", [0, 1])
def test_without_an_append_only_file_nothing_is_accepted(
    pair: tuple[Valkey, Valkey], server: int
) -> None:
    pair[server].client.config_set("appendonly", "no")
    [answer] = create(pair[0], CREATIONS[0], patience_seconds=1)
    assert isinstance(answer, StoreUnavailable)


def test_readiness_says_what_is_missing_for_acknowledgements(
    pair: tuple[Valkey, Valkey], tmp_path: Path
) -> None:
    first, second = pair

    def redis_of(service: Numbering) -> tuple[int, dict[str, object]]:
        reply = request(service.port, "GET", "/health/ready")
        return reply.status, reply.document["dependencies"]["redis"]

    async def whole() -> None:
        async with storage(first.url) as store:
            await store.pause()
            await asyncio.to_thread(check, store.url)

    def check(crud_url: str) -> None:
        wanted = {"REPLICAS_TO_ACKNOWLEDGE": "1"}
        with Numbering(tmp_path, first.url, crud_url, **wanted) as service:
            wait_until(lambda: redis_of(service)[0] == 200, 60)
            second.client.replicaof("NO", "ONE")
            wait_until(lambda: redis_of(service)[0] == 503, 60)
            assert "0 of 1 replicas" in str(redis_of(service)[1]["reason"])
            second.follow(first.client)
            wait_until(lambda: redis_of(service)[0] == 200, 60)
            first.client.config_set("appendonly", "no")
            assert "appendonly yes" in str(redis_of(service)[1]["reason"])

    asyncio.run(asyncio.wait_for(whole(), 240))


def test_a_killed_primary_that_is_replaced_by_its_replica_loses_nothing_answered(
    pair: tuple[Valkey, Valkey],
) -> None:
    first, second = pair
    assert create(first, *CREATIONS) == [Created(1), Created(2), Created(3)]
    os.kill(first.pid, signal.SIGKILL)
    second.client.replicaof("NO", "ONE")
    first.restart()
    first.follow(second.client)
    assert create(second, *CREATIONS) == [Created(n, replayed=True) for n in (1, 2, 3)]
    assert create(second, Creation(A, 1, "next", "r")) == [Created(4)]


def test_one_batch_is_in_flight_and_the_rest_is_the_next(pair: tuple[Valkey, Valkey]) -> None:
    """Redis runs nothing for a client that waits: a second call would only split the next."""
    waiters = [Waiter(Creation(A, 1, f"body {n}", "r")) for n in range(20)]

    async def whole() -> None:
        async with batching(pair[0].url, replicas=1) as batcher:
            for waiter in waiters:
                batcher.submit(waiter)
                await asyncio.sleep(0)
            assert batcher.in_flight == 1
            assert batcher.depth > 1

    asyncio.run(asyncio.wait_for(whole(), 60))
    assert sorted(waiter.number for waiter in waiters) == list(range(1, 21))
