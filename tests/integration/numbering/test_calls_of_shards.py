"""Creations of several shards: one call on one server, a call for each shard in a cluster."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from contract import keys
from contract.shards import SLOTS, Shards
from local_stack.ports import choose_port
from local_stack.stores.valkey_cluster import node_settings
from numbering_service.creation import Creation
from numbering_service.creations.batching import MAX_WAITING_BYTES, Batcher
from numbering_service.creations.shard_queue import MAX_BATCH, ShardQueue
from numbering_service.creations.sharded import ShardedBatcher
from numbering_service.creations.shares import Shares
from numbering_service.shard_servers import ShardServers
from tests.integration.numbering.surroundings import (
    Proxy,
    Valkey,
    Waiter,
    freeze,
    primary_and_replica,
)
from tests.polling import wait_until
from web.problems import Overloaded

SHARDS = Shards(3)
TOKENS = sorted((f"{n:024d}" for n in range(6)), key=SHARDS.number_of)


PATIENCE_SECONDS = 60


@asynccontextmanager
async def sharded(
    url: str, max_backlog: int = 100_000, replicas: int = 0
) -> AsyncIterator[ShardedBatcher]:
    """What a process numbers the creations of three shards with; all is settled at the end."""
    servers = ShardServers(url, len(SHARDS))
    shares = Shares(10_000, MAX_WAITING_BYTES)

    def make(queues: Sequence[ShardQueue], on_spread: Callable[[], None] | None) -> Batcher:
        return Batcher(
            servers,
            max_backlog=max_backlog,
            patience_seconds=PATIENCE_SECONDS,
            replicas=replicas,
            queues=queues,
            wake_up=lambda _, __: None,
            on_spread=on_spread,
        )

    batcher = ShardedBatcher([ShardQueue(shares, shard) for shard in SHARDS], make)
    try:
        yield batcher
        await batcher.drain(PATIENCE_SECONDS)
    finally:
        await batcher.aclose()


def submit(batcher: ShardedBatcher, asked: Iterable[Waiter]) -> None:
    for waiter in asked:
        batcher.submit(waiter)


async def until_sent() -> None:
    """Let the batcher collect and send what was submitted."""
    for _ in range(3):
        await asyncio.sleep(0)


def seed(valkey: Valkey) -> None:
    for token in TOKENS:
        valkey.client.set(SHARDS.of(token).key(keys.message_sequence(token, 1)), 0)


def waiters(count: int) -> list[Waiter]:
    """Return creations of messages, of all shards in turn."""
    return [Waiter(Creation(token, 1, f"body {n}", "r")) for n in range(count) for token in TOKENS]


def exact(valkey: Valkey, asked: list[Waiter]) -> None:
    """Check that each application's numbers are complete, and that its shard's stream agrees."""
    for token in TOKENS:
        own = [waiter for waiter in asked if waiter.creation.access_token == token]
        assert [waiter.number for waiter in own] == list(range(1, len(own) + 1))
        entries = valkey.client.xrange(SHARDS.of(token).key(keys.ACCEPTED))
        stored = [
            fields[b"body"].decode()
            for _, fields in entries
            if fields[b"access_token"].decode() == token
        ]
        assert stored == [waiter.creation.body for waiter in own]


def calls(valkey: Valkey) -> int:
    found: int = valkey.client.info("commandstats").get("cmdstat_evalsha", {}).get("calls", 0)
    return found


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Valkey]:
    """A cluster of one server, which has all slots."""
    with Valkey(tmp_path, **node_settings(choose_port(), 2000)) as server:
        server.client.cluster("ADDSLOTSRANGE", 0, SLOTS - 1)
        wait_until(lambda: server.client.cluster("INFO")["cluster_state"] == "ok", 30)
        yield server


def through_proxy(
    valkey: Valkey, scenario: Callable[[ShardedBatcher, Proxy], Awaitable[None]]
) -> None:
    async def whole() -> None:
        async with Proxy(valkey.port) as proxy, sharded(proxy.url) as batcher:
            await scenario(batcher, proxy)

    asyncio.run(asyncio.wait_for(whole(), 2 * PATIENCE_SECONDS))


def number(url: str, asked: list[Waiter], max_backlog: int = 100_000) -> None:
    async def scenario() -> None:
        async with sharded(url, max_backlog) as batcher:
            submit(batcher, asked)

    asyncio.run(scenario())


def test_one_server_numbers_all_shards_in_one_call(valkey: Valkey) -> None:
    seed(valkey)
    asked = waiters(10)
    before = calls(valkey)
    number(valkey.url, asked)
    assert calls(valkey) - before == 1
    exact(valkey, asked)


def test_shards_take_turns_to_fill_a_call(valkey: Valkey) -> None:
    """So creations of one shard do not wait for all that another one has waiting."""
    seed(valkey)
    flood = [Waiter(Creation(TOKENS[0], 1, f"body {n}", "r")) for n in range(5 * MAX_BATCH)]
    single = Waiter(Creation(TOKENS[-1], 1, "single", "r"))
    before: list[int] = []
    single.settle = lambda _: before.append(sum(len(each.answers) for each in flood))
    number(valkey.url, [*flood, single])
    assert before[0] <= MAX_BATCH


def test_a_full_stream_refuses_the_creations_of_its_shard(valkey: Valkey) -> None:
    seed(valkey)
    full = SHARDS.of(TOKENS[0]).key(keys.ACCEPTED)
    for _ in range(4):
        valkey.client.xadd(full, {"poison": "x"})
    asked = waiters(1)
    number(valkey.url, asked, max_backlog=4)
    for waiter in asked:
        is_full = SHARDS.of(waiter.creation.access_token).key(keys.ACCEPTED) == full
        [answer] = waiter.answers
        assert isinstance(answer, Overloaded) == is_full


def test_a_cluster_numbers_each_shard_by_itself(cluster: Valkey) -> None:
    seed(cluster)
    asked = waiters(200)
    number(cluster.url, asked)
    assert calls(cluster) >= len(SHARDS)
    exact(cluster, asked)


def test_lost_replies_are_requested_again(valkey: Valkey) -> None:
    seed(valkey)
    asked = waiters(300)

    async def scenario(batcher: ShardedBatcher, proxy: Proxy) -> None:
        for start in range(0, len(asked), 100):
            proxy.replies_to_lose = 1
            submit(batcher, asked[start : start + 100])
            await asyncio.sleep(0.01)

    through_proxy(valkey, scenario)
    exact(valkey, asked)


CROSS_SLOT = b"-CROSSSLOT Keys in request don't hash to the same slot\r\n"


def test_what_one_server_has_done_is_not_done_again_in_a_cluster(valkey: Valkey) -> None:
    """Calls that were done, but whose replies are replaced by those of a server of a cluster."""
    seed(valkey)
    asked = waiters(100)

    async def scenario(batcher: ShardedBatcher, proxy: Proxy) -> None:
        submit(batcher, asked[:60])
        await batcher.drain(PATIENCE_SECONDS)
        proxy.instead_of_replies = [CROSS_SLOT, CROSS_SLOT]
        submit(batcher, asked[60:120])
        await until_sent()
        submit(batcher, asked[120:])

    through_proxy(valkey, scenario)
    exact(valkey, asked)


def test_draining_waits_for_what_a_cluster_has_split(valkey: Valkey) -> None:
    seed(valkey)
    asked = waiters(10)

    async def scenario(batcher: ShardedBatcher, proxy: Proxy) -> None:
        submit(batcher, asked[:6])
        await batcher.drain(PATIENCE_SECONDS)
        proxy.instead_of_replies = [CROSS_SLOT]
        submit(batcher, asked[6:])
        await batcher.drain(PATIENCE_SECONDS)
        exact(valkey, asked)

    through_proxy(valkey, scenario)


def test_a_server_may_become_one_of_a_cluster_between_two_connections(tmp_path: Path) -> None:
    """With what it has: calls in flight are done once, whether they came before or not."""
    asked = waiters(90)

    async def scenario(server: Valkey) -> None:
        async with sharded(server.url) as batcher:
            submit(batcher, asked[:180])
            await batcher.drain(PATIENCE_SECONDS)
            submit(batcher, asked[180:360])
            await until_sent()
            await asyncio.to_thread(server.kill)
            submit(batcher, asked[360:])
            # It serves the slots that it has keys of.
            server.settings |= node_settings(choose_port(), 2000)
            server.settings["cluster-require-full-coverage"] = "no"
            await asyncio.to_thread(server.start)

    with Valkey(tmp_path) as server:
        seed(server)
        asyncio.run(asyncio.wait_for(scenario(server), 2 * PATIENCE_SECONDS))
        assert server.client.cluster("INFO")["cluster_state"] == "ok"
        exact(server, asked)


def test_a_call_is_answered_once_replicas_have_all_of_its_shards(tmp_path: Path) -> None:
    asked = waiters(10)

    async def scenario(first: Valkey, second: Valkey) -> None:
        async with sharded(first.url, replicas=1) as batcher:
            submit(batcher, asked[:30])
            await batcher.drain(PATIENCE_SECONDS)
            freeze(second.pid)
            try:
                submit(batcher, asked[30:])
                wanted = len(asked) // len(TOKENS)
                await asyncio.to_thread(
                    wait_until, lambda: all(length(first, token) == wanted for token in TOKENS), 30
                )
                assert not any(waiter.answers for waiter in asked[30:])
            finally:
                second.thaw()

    with primary_and_replica(tmp_path) as (first, second):
        seed(first)
        asyncio.run(asyncio.wait_for(scenario(first, second), 2 * PATIENCE_SECONDS))
        second.client.replicaof("NO", "ONE")
        exact(second, asked)


def length(valkey: Valkey, token: str) -> int:
    """How many entries of an application its shard's stream has."""
    entries = valkey.client.xrange(SHARDS.of(token).key(keys.ACCEPTED))
    return sum(fields[b"access_token"].decode() == token for _, fields in entries)


def test_at_shutdown_each_creation_of_a_call_is_told_that_its_outcome_is_unknown(
    valkey: Valkey,
) -> None:
    seed(valkey)
    asked = waiters(MAX_BATCH)

    async def scenario() -> None:
        async with sharded(valkey.url) as batcher:
            submit(batcher, asked[:6])
            await batcher.drain(PATIENCE_SECONDS)
            freeze(valkey.pid)
            submit(batcher, asked[6:])
            await batcher.drain(0.1)
            await batcher.aclose()

    try:
        asyncio.run(scenario())
    finally:
        valkey.thaw()
    told = [waiter.problem for waiter in asked[6:]]
    assert sum("not known" in problem.detail for problem in told) == 2 * MAX_BATCH
