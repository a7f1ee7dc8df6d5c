"""Batches sent to a real Valkey: in flight, lost, refused, given up."""

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import redis

from contract import keys
from numbering_service import metrics
from numbering_service.creation import Answer, Created, Creation
from numbering_service.creations import batching as batching_module
from numbering_service.creations.batching import MAX_WAITING_BYTES, Batcher
from numbering_service.creations.held_back import HeldBack
from numbering_service.creations.sending import MAX_IN_FLIGHT
from numbering_service.creations.shard_queue import MAX_BATCH
from numbering_service.creations.shares import Shares
from numbering_service.creations.window import Window
from numbering_service.redis_address import Address
from tests.integration.numbering.surroundings import (
    A,
    B,
    Proxy,
    Valkey,
    Waiter,
    batching,
    freeze,
    number,
)
from web.problems import InternalError, Overloaded, Problem, StoreUnavailable

PASSING_ERRORS = [
    b"-LOADING Valkey is loading the dataset in memory\r\n",
    b"-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n",
    b"-UNBLOCKED force unblock from blocking operation, instance state changed\r\n",
    b"-READONLY You can't write against a read only replica.\r\n",
    b"-TRYAGAIN Multiple keys request during rehashing of slot\r\n",
    b"-BUSY Valkey is busy running a script.\r\n",
    b"-NOSCRIPT No matching script.\r\n",
    b"no reply at all\r\n",
    b":1\r\n:2\r\n:3\r\n",
]


@pytest.fixture
def valkey(valkey: Valkey) -> Valkey:
    valkey.client.set(keys.message_sequence(A, 1), 0)
    return valkey


def waiters(number: int, **settings: int) -> list[Waiter]:
    return [Waiter(Creation(A, 1, f"body {n}", "r"), **settings) for n in range(number)]


def through_proxy(valkey: Valkey, scenario: Callable[[Batcher, Proxy], Awaitable[None]]) -> None:
    """Run a scenario with a batcher that reaches Valkey through a proxy."""

    async def whole() -> None:
        async with Proxy(valkey.port) as proxy, batching(proxy.url) as batcher:
            await scenario(batcher, proxy)
            await batcher.drain(10)

    asyncio.run(asyncio.wait_for(whole(), 30))


@asynccontextmanager
async def standing_still(
    valkey: Valkey, first: Waiter | None = None, **settings: Any
) -> AsyncIterator[Batcher]:
    """A batcher whose server stands still once it has answered a first creation."""
    async with batching(valkey.url, **settings) as batcher:
        batcher.submit(first or waiters(1)[0])
        await batcher.drain(5)
        freeze(valkey.pid)
        try:
            yield batcher
        finally:
            valkey.thaw()


async def turns(number: int = 3) -> None:
    """Let the loop send what was submitted."""
    for _ in range(number):
        await asyncio.sleep(0)


def exact(valkey: Valkey, asked: list[Waiter]) -> None:
    """Check that every waiter has its own number, and that what is stored agrees."""
    assert sorted(waiter.number for waiter in asked) == list(range(1, len(asked) + 1))
    stored = {
        fields[b"body"].decode(): int(fields[b"number"])
        for _entry_id, fields in valkey.client.xrange(keys.ACCEPTED)
    }
    assert stored == {waiter.creation.body: waiter.number for waiter in asked}


@pytest.mark.parametrize("error", PASSING_ERRORS)
def test_a_transient_error_is_retried_on_a_new_connection(valkey: Valkey, error: bytes) -> None:
    asked = waiters(40)

    async def scenario(batcher: Batcher, proxy: Proxy) -> None:
        batcher.submit(asked[0])
        await batcher.drain(5)
        connected = len(proxy.connections)
        proxy.instead_of_replies = [error, error]
        for waiter in asked[1:20]:
            batcher.submit(waiter)
        await turns()
        for waiter in asked[20:]:
            batcher.submit(waiter)
        await batcher.drain(10)
        assert len(proxy.connections) > connected

    through_proxy(valkey, scenario)
    exact(valkey, asked)


def test_lost_replies_of_two_batches_are_requested_again_in_order(valkey: Valkey) -> None:
    asked = waiters(3000)

    async def scenario(batcher: Batcher, proxy: Proxy) -> None:
        for start in range(0, len(asked), 100):
            proxy.replies_to_lose = int(start % 300 == 0)
            for waiter in asked[start : start + 100]:
                batcher.submit(waiter)
            await asyncio.sleep(0.01)

    through_proxy(valkey, scenario)
    exact(valkey, asked)


def test_a_script_that_was_flushed_is_loaded_again(valkey: Valkey) -> None:
    asked = waiters(300)

    async def scenario(batcher: Batcher, _proxy: Proxy) -> None:
        for start in range(0, len(asked), 100):
            for waiter in asked[start : start + 100]:
                batcher.submit(waiter)
            await turns()
            valkey.client.script_flush()
        await batcher.drain(10)

    through_proxy(valkey, scenario)
    exact(valkey, asked)


def test_at_most_two_batches_are_in_flight_and_the_rest_is_one_batch(valkey: Valkey) -> None:
    asked = waiters(200)

    async def scenario() -> None:
        async with standing_still(valkey, asked[0]) as batcher:
            for waiter in asked[1:]:
                batcher.submit(waiter)
                await turns(2)
            assert batcher.in_flight == MAX_IN_FLIGHT
            assert batcher.depth == len(asked) - 1 - MAX_IN_FLIGHT

    asyncio.run(scenario())
    exact(valkey, asked)


def test_a_second_batch_is_sent_once_it_is_as_large_as_the_first(valkey: Valkey) -> None:
    asked = waiters(19)

    async def scenario() -> None:
        async with standing_still(valkey, asked[0]) as batcher:
            for waiter in asked[1:10]:
                batcher.submit(waiter)
            await turns()
            for waiter in asked[10:18]:
                batcher.submit(waiter)
                await turns()
            assert batcher.in_flight == 1
            batcher.submit(asked[18])
            await turns()
            assert batcher.in_flight == 2
            assert not batcher.depth

    asyncio.run(scenario())
    exact(valkey, asked)


def test_the_next_batch_is_sent_before_a_reply_is_answered(valkey: Valkey) -> None:
    in_flight: list[int] = []

    async def scenario() -> None:
        async with standing_still(valkey) as batcher:

            class Watching(Waiter):
                def settle(self, answer: Answer) -> None:
                    in_flight.append(batcher.in_flight)

            for number in range(3):
                batcher.submit(Watching(Creation(A, 1, f"first {number}", "r")))
            await turns()
            for waiter in waiters(2):
                batcher.submit(waiter)

    asyncio.run(scenario())
    assert in_flight == [1, 1, 1]


def batches() -> Counter[str]:
    """The number of batches so far, by the upper bound of their size, and of all their entries."""
    metrics.BATCHES.count()
    [metric] = metrics.BATCH_SIZE.collect()
    counts: Counter[str] = Counter()
    below = 0.0
    for sample in metric.samples:
        if sample.name.endswith("_bucket"):
            counts[sample.labels["le"]] = int(sample.value - below)
            below = sample.value
        elif sample.name.endswith("_sum"):
            counts["entries"] = int(sample.value)
    return counts


def test_a_batch_is_bounded_in_number_and_in_bytes(valkey: Valkey) -> None:
    before = batches()

    async def scenario() -> None:
        async with batching(valkey.url) as batcher:
            for waiter in waiters(MAX_BATCH + 10) + waiters(10, size=1024 * 1024):
                batcher.submit(waiter)

    asyncio.run(scenario())
    # Of MAX_BATCH, 10 + 4, 4 and 2 entries.
    assert batches() - before == {
        "512.0": 1,
        "16.0": 1,
        "4.0": 1,
        "2.0": 1,
        "entries": MAX_BATCH + 20,
    }


def test_waiting_creations_are_bounded_in_number_and_in_bytes(valkey: Valkey) -> None:
    async def refused_after(size: int) -> int:
        async with batching(valkey.url, max_waiting=100) as batcher:
            asked = waiters(200, size=size)
            with suppress(Overloaded):
                for waiter in asked:
                    batcher.submit(waiter)
            return batcher.depth

    # One application is refused when it holds as much as is left for all others.
    assert asyncio.run(refused_after(1)) == 50
    assert asyncio.run(refused_after(1024 * 1024)) == 16


@pytest.mark.parametrize("size", [1, 1024 * 1024])
def test_the_queue_of_one_application_leaves_room_for_another(valkey: Valkey, size: int) -> None:
    valkey.client.set(keys.message_sequence(B, 1), 0)
    quiet = Waiter(Creation(B, 1, "quiet", "r"), size=size)

    async def scenario() -> None:
        async with batching(valkey.url, max_waiting=100) as batcher:
            asked = waiters(200, size=size)
            with suppress(Overloaded):
                for waiter in asked:
                    batcher.submit(waiter)
            batcher.submit(quiet)

    asyncio.run(scenario())
    assert quiet.number == 1


def test_a_client_that_disconnected_before_its_batch_was_sent_creates_nothing(
    valkey: Valkey,
) -> None:
    asked = waiters(3)

    async def scenario() -> None:
        async with batching(valkey.url) as batcher:
            for waiter in asked:
                batcher.submit(waiter)
            asked[1].is_disconnected = True

    asyncio.run(scenario())
    assert asked[1].was_abandoned
    assert not asked[1].answers
    exact(valkey, [asked[0], asked[2]])


def test_a_failing_answer_keeps_no_other_from_its_client(valkey: Valkey) -> None:
    class Broken(Waiter):
        def settle(self, answer: object) -> None:
            raise RuntimeError("no way to answer")

    asked = [*waiters(2), Broken(Creation(A, 1, "broken", "r")), *waiters(4)[2:]]

    async def scenario() -> None:
        async with batching(valkey.url) as batcher:
            for waiter in asked:
                batcher.submit(waiter)

    asyncio.run(scenario())
    assert [asked[n].number for n in (0, 1, 3, 4)] == [1, 2, 4, 5]


def test_a_batch_that_cannot_be_sent_is_settled_and_the_next_one_is_sent(valkey: Valkey) -> None:
    unsendable = Waiter(Creation(A, 1, "hello", "\ud800"))
    [sendable] = waiters(1)

    async def scenario() -> None:
        async with batching(valkey.url) as batcher:
            batcher.submit(unsendable)
            await turns()
            batcher.submit(sendable)

    asyncio.run(scenario())
    [answer] = unsendable.answers
    assert isinstance(answer, InternalError)
    assert sendable.number == 1


def test_a_problem_of_a_whole_batch_goes_to_all_its_requests_and_the_next_batch_is_sent(
    valkey: Valkey,
) -> None:
    async def scenario() -> list[Waiter]:
        async with batching(valkey.url) as batcher:
            valkey.client.set(keys.ACCEPTED, "not a stream")
            refused = waiters(2)
            for waiter in refused:
                batcher.submit(waiter)
            await batcher.drain(5)
            valkey.client.delete(keys.ACCEPTED)
            batcher.submit(Waiter(Creation(A, 1, "next", "r")))
        return refused

    for waiter in asyncio.run(scenario()):
        [answer] = waiter.answers
        assert isinstance(answer, StoreUnavailable)
    assert valkey.client.xlen(keys.ACCEPTED) == 1


def test_a_timeout_reports_what_is_known(valkey: Valkey) -> None:
    sent, unsent, late = waiters(2), waiters(5), waiters(2)

    async def scenario() -> None:
        async with standing_still(valkey, patience_seconds=1) as batcher:
            for waiter in (*sent, *unsent):
                batcher.submit(waiter)
                await turns(2)
            await batcher.drain(8)
            for waiter in late:
                batcher.submit(waiter)
            await batcher.drain(8)

    asyncio.run(scenario())
    assert {
        detail(waiter).startswith("Redis is unavailable, so it is not known") for waiter in sent
    } == {True}
    assert {detail(waiter) for waiter in (*unsent, *late)} == {
        "Redis is unavailable; nothing was changed."
    }


def detail(waiter: Waiter) -> str:
    [answer] = waiter.answers
    assert isinstance(answer, Problem)
    return answer.detail


def test_drain_refuses_creations_that_cannot_finish_in_time(valkey: Valkey) -> None:
    asked = waiters(4)

    async def scenario() -> None:
        freeze(valkey.pid)
        try:
            async with batching(valkey.url) as batcher:
                for waiter in asked:
                    batcher.submit(waiter)
                    await turns(2)
                await batcher.drain(0.1)
                assert [len(waiter.answers) for waiter in asked] == [0, 0, 1, 1]
                await batcher.aclose()
                assert [len(waiter.answers) for waiter in asked] == [1, 1, 1, 1]
        finally:
            valkey.thaw()

    asyncio.run(scenario())


def full(**more: Any) -> dict[str, Any]:
    """Settings of a batcher with room for a single creation of each application.

    A persister is about to store it.
    """
    window = Window(1, 1, step_bytes=0, clock=lambda: 0.0)
    return {"window": window, "shares": Shares(10_000, MAX_WAITING_BYTES), **more}


def check_free(shares: Shares) -> None:
    """Check that nothing waits any more: all bytes can be taken at once."""
    shares.take(A, MAX_WAITING_BYTES)


def test_a_creation_that_is_held_back_for_too_long_is_refused(valkey: Valkey) -> None:
    asked = waiters(3, size=10)
    asked[2].is_disconnected = True
    settings = full(held_back=HeldBack(0.2))

    async def scenario() -> None:
        async with batching(valkey.url, **settings) as batcher:
            for waiter in asked:
                batcher.submit(waiter)
            assert batcher.depth == len(asked)
            await batcher.drain(10)
            assert batcher.depth == 0

    asyncio.run(scenario())
    check_free(settings["shares"])
    assert asked[0].number == 1
    assert asked.pop(2).was_abandoned
    for waiter in asked[1:]:
        [answer] = waiter.answers
        assert isinstance(answer, Overloaded)
        assert "faster than its messages are stored" in answer.detail
    assert valkey.client.xlen(keys.ACCEPTED) == 1


@pytest.mark.parametrize("look_seconds", [0.001, 60.0], ids=["asking", "from replies"])
def test_creations_that_are_held_back_go_on_in_their_order(
    valkey: Valkey, monkeypatch: pytest.MonkeyPatch, look_seconds: float
) -> None:
    """As soon as any reply reports that there is room."""
    monkeypatch.setattr(batching_module, "LOOK_SECONDS", look_seconds)
    asked = waiters(15, size=10)
    others = iter([Waiter(Creation(f"{number:024}", 1, "x", "r")) for number in range(2000)])
    known = [keys.message_sequence(f"{number:024}", 1) for number in range(2000)]
    valkey.client.mset(dict.fromkeys(known, 0))
    settings = full(held_back=HeldBack(600))

    async def scenario() -> None:
        async with batching(valkey.url, **settings) as batcher:
            for waiter in asked:
                batcher.submit(waiter)
            asked[10].is_disconnected = True
            valkey.client.set(keys.LEASE_PERSIST, "a worker", ex=60)
            while not all(waiter.answers or waiter.was_abandoned for waiter in asked):
                await asyncio.sleep(0.005)
                valkey.client.xtrim(keys.ACCEPTED, maxlen=0, approximate=False)
                if look_seconds > 1:
                    batcher.submit(next(others))

    asyncio.run(scenario())
    check_free(settings["shares"])
    assert asked.pop(10).was_abandoned
    assert [waiter.number for waiter in asked] == list(range(1, len(asked) + 1))


def test_creations_that_are_held_back_are_refused_at_the_end(valkey: Valkey) -> None:
    asked = waiters(2, size=10)
    settings = full()

    async def scenario() -> None:
        async with batching(valkey.url, **settings) as batcher:
            for waiter in asked:
                batcher.submit(waiter)
            await batcher.drain(0.1)

    asyncio.run(scenario())
    check_free(settings["shares"])
    assert asked[0].number == 1
    [answer] = asked[1].answers
    assert isinstance(answer, Overloaded)


def test_creations_that_are_held_back_are_refused_once_redis_is_lost(valkey: Valkey) -> None:
    asked = waiters(3, size=10)
    settings = full(patience_seconds=0.2)

    async def scenario() -> None:
        freeze(valkey.pid)
        try:
            async with batching(valkey.url, **settings) as batcher:
                for waiter in asked:
                    batcher.submit(waiter)
                await batcher.drain(30)
        finally:
            valkey.thaw()

    asyncio.run(scenario())
    check_free(settings["shares"])
    for waiter in asked:
        [answer] = waiter.answers
        assert isinstance(answer, StoreUnavailable)
        assert not isinstance(answer, Overloaded)


def test_every_kind_of_address_is_logged_into(tmp_path: Path) -> None:
    with Valkey(tmp_path) as server:
        server.client.acl_setuser(
            "chat", enabled=True, passwords=["+p@ss word"], keys=["*"], categories=["+@all"]
        )
        for address in (
            f"redis://chat:p%40ss%20word@127.0.0.1:{server.port}/3",
            f"redis://127.0.0.1:{server.port}",
        ):
            with redis.Redis.from_url(address, protocol=2) as client:
                client.set(keys.message_sequence(A, 1), 0)
                assert asyncio.run(number(address, Creation(A, 1, "x", "r"))) == [Created(1)]
                assert client.xlen(keys.ACCEPTED) == 1


def test_a_wrong_redis_password_is_a_problem_and_not_an_endless_wait(tmp_path: Path) -> None:
    with Valkey(tmp_path) as server:
        address = f"redis://nobody:wrong@127.0.0.1:{server.port}"
        [answer] = asyncio.run(number(address, Creation(A, 1, "x", "r"), patience_seconds=1))
    assert isinstance(answer, StoreUnavailable)
    assert answer.detail == "Redis is unavailable; nothing was changed."


def test_tls_follows_the_url() -> None:
    plain = Address.from_url("redis://h:1/2")
    assert (plain.host, plain.port, plain.database, plain.tls) == ("h", 1, 2, None)
    checked = Address.from_url("rediss://u:p@h").tls
    assert checked is not None
    assert (checked.verify_mode, checked.check_hostname) == (ssl.CERT_REQUIRED, True)
    unchecked = Address.from_url("rediss://h?ssl_cert_reqs=none").tls
    assert unchecked is not None
    assert (unchecked.verify_mode, unchecked.check_hostname) == (ssl.CERT_NONE, False)


def test_an_address_in_the_log_has_no_password() -> None:
    assert str(Address.from_url("rediss://user:secret@h:7/1")) == "h:7"
    assert "secret" not in repr(Address.from_url("rediss://user:secret@h:7/1"))


def test_full_memory_is_an_overload(valkey: Valkey) -> None:
    valkey.client.config_set("maxmemory", 1)
    try:
        [answer] = asyncio.run(number(valkey.url, Creation(A, 1, "body", "r")))
    finally:
        valkey.client.config_set("maxmemory", 0)
    assert isinstance(answer, Overloaded)
    assert answer.detail == "Redis is out of memory; nothing was changed."
