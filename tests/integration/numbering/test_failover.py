"""A primary becomes a replica under load: the service finds the new one behind the same address."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_stack.ports import LOOPBACK
from tests.integration.numbering.surroundings import (
    CHATS,
    MESSAGES,
    A,
    Client,
    Numbering,
    Proxy,
    Reply,
    Storage,
    Valkey,
    load,
    primary_and_replica,
    storage,
)
from tests.log_lines import Line

CLIENTS, EACH = 16, 60


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Valkey, Valkey]]:
    with primary_and_replica(tmp_path) as servers:
        yield servers


def offset(server: Valkey) -> int:
    return int(server.client.info("replication")["master_repl_offset"])


def switch(old: Valkey, new: Valkey, proxy: Proxy, *, seconds_late: float) -> None:
    """Switch the roles as an operator would: pause writes, let the replica catch up, promote.

    The address leads to the new primary a little later, and no connection is closed.
    """
    old.client.client_pause(10_000, all=False)
    while offset(new) < offset(old):
        time.sleep(0.005)
    new.client.replicaof("NO", "ONE")
    # In one write: a moment later it is loading what the new primary has.
    demotion = old.client.pipeline(transaction=False)
    demotion.replicaof(LOOPBACK, new.port)
    demotion.client_unpause()
    demotion.execute()
    time.sleep(seconds_late)
    proxy.target = new.port


async def post(client: Client, number: int, turn: int) -> Reply:
    """Post a message to a warm chat; now and then to one whose sequence must be seeded."""
    if turn % 10 == 5:
        return await client.post(f"{CHATS}/{cold_chat(number, turn)}/messages", "cold")
    return await client.post(MESSAGES, f"{number} {turn}")


def cold_chat(number: int, turn: int) -> int:
    return 2 + number * EACH + turn


@pytest.mark.parametrize("seconds_late", [0.0, 1.0])
def test_a_primary_that_became_a_replica_is_left_at_once(
    pair: tuple[Valkey, Valkey], tmp_path: Path, seconds_late: float
) -> None:
    first, second = pair

    async def whole() -> tuple[list[Reply], Storage, list[Line]]:
        async with Proxy(first.port) as proxy, storage(first.url) as store:
            for number in range(1, 2 + CLIENTS * EACH):
                store.chat(A, number)
            with await asyncio.to_thread(Numbering, tmp_path, proxy.url, store.url) as service:
                loading = asyncio.create_task(load(service.port, CLIENTS, EACH, post))
                while len(store.entries) < CLIENTS:  # it is under way
                    await asyncio.sleep(0.005)
                await asyncio.to_thread(switch, first, second, proxy, seconds_late=seconds_late)
                store.move(second.url)
                replies = await asyncio.wait_for(loading, 120)
        return replies, store, service.lines()

    replies, store, lines = asyncio.run(asyncio.wait_for(whole(), 240))
    assert Counter(reply.status for reply in replies) == {201: CLIENTS * EACH}
    assert not store.repeated
    warm = CLIENTS * EACH - CLIENTS * EACH // 10
    assert store.numbers(A, 1) == list(range(1, warm + 1))
    assert Counter(Counter(entry.body for entry in store.entries).values())[1] == warm
    assert any("READONLY" in str(line["message"]) for line in lines), "nothing was under way"
    assert [server.client.role()[0] for server in pair] == [b"slave", b"master"]


def test_a_primary_that_became_a_replica_is_not_ready(
    pair: tuple[Valkey, Valkey], tmp_path: Path
) -> None:
    first, second = pair

    async def readiness(port: int) -> int:
        async with Client(port) as client:
            return (await client.request("GET", "/health/ready")).status

    async def whole() -> list[int]:
        async with Proxy(first.port) as proxy, storage(first.url) as store:
            with await asyncio.to_thread(Numbering, tmp_path, proxy.url, store.url) as service:
                found = [await readiness(service.port)]
                second.client.replicaof("NO", "ONE")
                first.client.replicaof(LOOPBACK, second.port)
                store.move(second.url)
                found.append(await readiness(service.port))
                proxy.target = second.port
                found.append(await readiness(service.port))
        return found

    assert asyncio.run(asyncio.wait_for(whole(), 120)) == [200, 503, 200]
