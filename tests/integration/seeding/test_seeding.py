"""Seeding as clients see it: a long backlog, floods of unknown collections, failing stores."""

import asyncio
import contextlib
import random
import string
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median

import httpx
import pytest

from contract import keys
from contract.entries import FIELDS
from contract.shards import ONLY
from local_stack.ports import PLAIN_HTTP
from numbering_service.creation import Creation
from numbering_service.creations.numbers import pack_batch, script_text
from numbering_service.creations.pending import Batch
from numbering_service.rate_limits import NO_LIMIT
from numbering_service.redis_client import Client as RedisClient
from numbering_service.seeding import Seeding
from numbering_service.seeding.backlog import Found
from numbering_service.seeding.lock import LockLostError, Scripts, SeedLock
from tests.integration.accepting import accept
from tests.integration.numbering.surroundings import (
    CHATS,
    A,
    B,
    Client,
    Numbering,
    Reply,
    Storage,
    Valkey,
    Waiter,
    load,
    primary_and_replica,
    storage,
)
from tests.links import Links
from web.problems import NotFound, Overloaded, StoreUnavailable

Scene = Callable[[Storage, Numbering], Awaitable[None]]
ALPHABET = string.ascii_letters + string.digits


def run(directory: Path, valkey: Valkey, scene: Scene, *, drains: bool = True) -> Storage:
    """Run a scene with the real service; return what is stored in the end."""

    async def whole() -> Storage:
        async with storage(valkey.url) as store:
            store.paused = not drains
            store.applications |= {B}
            service = await asyncio.to_thread(lambda: Numbering(directory, valkey.url, store.url))
            try:
                await scene(store, service)
            finally:
                await asyncio.to_thread(service.end)
        return store

    store = asyncio.run(asyncio.wait_for(whole(), 240))
    assert not store.repeated
    return store


def fill(valkey: Valkey, messages: int, *, chats: int) -> None:
    """Accept chats of A and messages in them, without any sequence."""
    with valkey.client.pipeline(transaction=False) as pipeline:
        for chat in range(1, chats + 1):
            values = (A, "", str(chat), "", "r")
            pipeline.xadd(keys.ACCEPTED, dict(zip(FIELDS, values, strict=True)))
        for position in range(messages):
            number, chat = divmod(position, chats)
            values = (A, str(chat + 1), str(number + 1), f"body {position}", "r")
            pipeline.xadd(keys.ACCEPTED, dict(zip(FIELDS, values, strict=True)))
        pipeline.execute()


def test_an_application_that_was_deleted_since_it_was_known_is_asked_for_again(
    tmp_path: Path, valkey: Valkey
) -> None:
    async def scene(store: Storage, service: Numbering) -> None:
        def asked() -> int:
            return sum(store.asked[path] for path in store.asked if f"={A}" in path)

        async with Client(service.port) as client:
            assert (await client.post(CHATS)).number == 1
            # Its entry alone would tell the next number, without a question.
            while await store.redis.xlen(keys.ACCEPTED):
                await asyncio.sleep(0.001)
            before, started = asked(), time.monotonic()
            store.applications.remove(A)
            for _ in range(2):
                await asyncio.to_thread(valkey.client.delete, keys.chat_sequence(A))
                assert (await client.post(CHATS)).status == 404
            # The answer is remembered for a second.
            assert before < asked() <= before + 1 + (time.monotonic() - started)

    run(tmp_path, valkey, scene)


def random_token() -> str:
    return "".join(random.choices(ALPHABET, k=24))


def test_creations_do_not_wait_for_a_backlog_that_is_not_being_stored(
    tmp_path: Path, valkey: Valkey
) -> None:
    fill(valkey, 20_000, chats=10)

    async def scene(store: Storage, service: Numbering) -> None:
        store.chat(A, 11, highest_message=5)
        async with Client(service.port) as client:
            started = time.monotonic()
            assert (await client.post(f"{CHATS}/3/messages", "x")).number == 2_001
            assert (await client.post(f"/applications/{B}/chats")).number == 1
            assert (await client.post(f"{CHATS}/11/messages", "x")).number == 6
            assert (await client.post(CHATS)).number == 12
            assert time.monotonic() - started < 20
        assert await store.redis.xlen(keys.ACCEPTED) == 20_014

    run(tmp_path, valkey, scene, drains=False)


def test_sequences_lost_while_entries_wait_continue_exactly(tmp_path: Path, valkey: Valkey) -> None:
    """Repeatedly, with a persister that pauses and resumes."""
    answered: list[Reply] = []

    async def ask(client: Client, number: int, turn: int) -> Reply:
        return await client.post(f"{CHATS}/{number % 5 + 1}/messages", f"{number} {turn}")

    async def lose(times: int) -> None:
        for _ in range(times):
            names = await asyncio.to_thread(valkey.client.keys, "sequence:*")
            lost = [name for name in names if random.random() < 0.5]
            await asyncio.to_thread(valkey.client.delete, "-", *lost)
            await asyncio.sleep(0.05)

    async def scene(store: Storage, service: Numbering) -> None:
        async with Client(service.port) as client:
            for number in range(1, 6):
                assert (await client.post(CHATS)).number == number
        for store.paused in (True, False, True):
            losing = asyncio.create_task(lose(20))
            answers = await load(service.port, 20, 20, ask)
            answered.extend(answer for answer in answers if answer.status == 201)
            # One whose sequence is lost five times in a row is refused.
            assert {answer.status for answer in answers} <= {201, 503}
            await losing

    store = run(tmp_path, valkey, scene, drains=False)
    stored = [store.numbers(A, chat) for chat in range(1, 6)]
    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in stored)
    assert sum(map(len, stored)) == len(answered) > 600


def test_without_crud_sequences_in_the_backlog_continue(tmp_path: Path, valkey: Valkey) -> None:
    fill(valkey, 100, chats=10)

    async def scene(store: Storage, service: Numbering) -> None:
        store.answers_with = b"503 Service Unavailable"
        async with Client(service.port) as client:
            assert (await client.post(f"{CHATS}/3/messages", "x")).number == 11
            assert (await client.post(CHATS)).number == 11
            for path in (f"{CHATS}/77/messages", f"/applications/{B}/chats"):
                refused = await client.post(path, "x")
                assert (refused.status, refused.code) == (503, "store_unavailable")
                assert int(refused.headers["retry-after"]) >= 1

    run(tmp_path, valkey, scene, drains=False)


async def until_cancelled(port: int, path: Callable[[], str], seen: set[int]) -> None:
    async with Client(port) as client:
        while True:
            seen.add((await client.post(path(), "x")).status)


@pytest.mark.parametrize("flood", ["random tokens", "random chats", "cold chats"])
def test_a_flood_leaves_room_for_the_cold_chat_of_another(
    tmp_path: Path, valkey: Valkey, flood: str
) -> None:
    chats = iter(range(10_000, 1_000_000))
    paths: dict[str, Callable[[], str]] = {
        "random tokens": lambda: f"/applications/{random_token()}/chats",
        "random chats": lambda: f"{CHATS}/{random.randrange(10**6, 10**12)}/messages",
        "cold chats": lambda: f"{CHATS}/{next(chats)}/messages",
    }

    async def scene(store: Storage, service: Numbering) -> None:
        for number in range(10_000, 100_000):
            store.stored[A, number] = {}
        for number in range(1, 21):
            store.chat(B, number, highest_message=number)
        seen: set[int] = set()
        flooding = [
            asyncio.create_task(until_cancelled(service.port, paths[flood], seen))
            for _ in range(200)
        ]
        await asyncio.sleep(1)
        times: list[float] = []
        async with Client(service.port) as client:
            for number in range(1, 21):
                started = time.monotonic()
                answer = await client.post(f"/applications/{B}/chats/{number}/messages", "x")
                assert answer.number == number + 1
                times.append(time.monotonic() - started)
        # One second where the cores are ours. Without room each of them would wait, and a busy
        # machine delays one or another.
        assert median(times) < 5, times
        for task in flooding:
            task.cancel()
        await asyncio.gather(*flooding, return_exceptions=True)
        assert seen == ({201} if flood == "cold chats" else {404})

    run(tmp_path, valkey, scene)


def test_random_tokens_are_looked_up_in_groups(tmp_path: Path, valkey: Valkey) -> None:
    async def ask(client: Client, number: int, turn: int) -> Reply:
        return await client.post(f"/applications/{random_token()}/chats")

    async def scene(store: Storage, service: Numbering) -> None:
        answers = await load(service.port, 100, 5, ask)
        assert {answer.status for answer in answers} == {404}
        assert sum(times for path, times in store.asked.items() if "internal" in path) < 250
        assert not [path for path in store.asked if "/sequences/" in path]

    run(tmp_path, valkey, scene)


def seed(valkey: Valkey, scenario: Callable[[Seeding], Awaitable[None]], **names: int) -> None:
    """Run a scenario with its own `Seeding` and a `Storage` that stores nothing."""

    async def whole() -> None:
        async with (
            storage(valkey.url) as store,
            httpx.AsyncClient(base_url=store.url, timeout=30, **PLAIN_HTTP) as crud,
            RedisClient.from_url(valkey.url, retry=None) as connection,
        ):
            store.paused = True
            store.chat(A, 1, highest_message=3)
            await scenario(Seeding([connection], crud, patience_seconds=names.get("patience", 5)))
            await store.redis.delete(keys.ACCEPTED)

    asyncio.run(asyncio.wait_for(whole(), 120))


MESSAGE = Creation(A, 1, "x", "r")
SEQUENCE = MESSAGE.sequence_key
LOCK = keys.seed_lock(SEQUENCE)


@pytest.mark.parametrize("kind", ["another type", "not permitted"])
def test_only_a_missing_stream_means_that_nothing_waits(valkey: Valkey, kind: str) -> None:
    if kind == "another type":
        valkey.client.set(keys.ACCEPTED, "x")
    else:
        accept(valkey.client, 9, chat=1, token=A)
        valkey.client.execute_command("ACL SETUSER", "default", "-xinfo")  # type: ignore[no-untyped-call] # redis-py leaves it so

    async def scenario(seeding: Seeding) -> None:
        with pytest.raises(StoreUnavailable):
            await seeding.seed_sequence(MESSAGE)

    try:
        seed(valkey, scenario)
    finally:
        valkey.client.execute_command("ACL SETUSER", "default", "+xinfo")  # type: ignore[no-untyped-call]
    assert not valkey.client.exists(SEQUENCE)
    assert not valkey.client.exists(LOCK)


def test_a_replica_is_used_again_once_it_is_primary(valkey: Valkey) -> None:
    valkey.client.replicaof("127.0.0.1", "1")

    async def scenario(seeding: Seeding) -> None:
        seeding_task = asyncio.create_task(seeding.seed_sequence(MESSAGE))
        await asyncio.sleep(0.3)
        assert not seeding_task.done()
        valkey.client.replicaof("NO", "ONE")
        await seeding_task

    try:
        seed(valkey, scenario)
    finally:
        valkey.client.replicaof("NO", "ONE")
    assert valkey.client.get(SEQUENCE) == b"3"


def test_seeding_leaves_a_primary_that_lost_its_replicas(tmp_path: Path) -> None:
    """It is alive, and so is every connection to it; new connections lead to the new primary."""

    async def whole(former: Valkey, promoted: Valkey, third: Valkey, links: Links) -> None:
        primary = former
        link = links.add(lambda: primary.port)
        async with (
            storage(former.url) as store,
            httpx.AsyncClient(base_url=store.url, timeout=30, **PLAIN_HTTP) as crud,
            RedisClient.from_url(f"redis://127.0.0.1:{link.port}/0", retry=None) as connection,
        ):
            store.paused = True
            store.chat(A, 1, highest_message=3)
            seeding = Seeding([connection], crud, patience_seconds=30, replicas=1)
            await seeding.seed_sequence(MESSAGE)
            assert former.client.get(SEQUENCE) == b"3"
            promoted.client.replicaof("NO", "ONE")
            promoted.client.delete(SEQUENCE)
            third.follow(promoted.client)
            primary = promoted
            await seeding.seed_sequence(MESSAGE)
        assert promoted.client.get(SEQUENCE) == b"3"

    (tmp_path / "third").mkdir()
    with (
        primary_and_replica(tmp_path) as (former, promoted),
        Valkey(tmp_path / "third") as third,
        Links() as links,
    ):
        asyncio.run(asyncio.wait_for(whole(former, promoted, third, links), 90))


def test_full_memory_is_reported(valkey: Valkey) -> None:
    async def scenario(seeding: Seeding) -> None:
        valkey.client.config_set("maxmemory", "1")
        with pytest.raises(Overloaded):
            await seeding.seed_sequence(MESSAGE)
        valkey.client.config_set("maxmemory", "0")
        await seeding.seed_sequence(MESSAGE)

    with contextlib.ExitStack() as cleanup:
        cleanup.callback(valkey.client.config_set, "maxmemory", "0")
        seed(valkey, scenario)


def with_lock(valkey: Valkey, scenario: Callable[[Scripts], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with RedisClient.from_url(valkey.url) as connection:
            await scenario(Scripts(connection))

    asyncio.run(asyncio.wait_for(whole(), 120))


def history(valkey: Valkey) -> str:
    """Return the replication id of a server."""
    return str(valkey.client.info("replication")["master_replid"])


def test_what_was_read_from_another_server_is_not_written(valkey: Valkey) -> None:
    """As from a former primary to which a connection is left after a fail-over."""

    async def scenario(scripts: Scripts) -> None:
        lock = SeedLock(scripts, SEQUENCE)
        assert await lock.take()
        with pytest.raises(LockLostError):
            await lock.write(5, 60_000, "0" * 40)
        assert not valkey.client.exists(SEQUENCE)
        assert await lock.take()
        await lock.write(6, 60_000, history(valkey))

    with_lock(valkey, scenario)
    assert valkey.client.get(SEQUENCE) == b"6"


def test_a_late_write_finds_another_lock_token(valkey: Valkey) -> None:
    """The lock expires, others seed and get numbers, the key is lost, the lock is taken again."""

    async def scenario(scripts: Scripts) -> None:
        lock = SeedLock(scripts, SEQUENCE)
        assert await lock.take()
        late = lock._token
        assert await lock.take()  # after an error, as it seemed
        assert valkey.client.get(LOCK) != late.encode()
        assert await scripts.write(keys=[SEQUENCE, LOCK], args=[late, 1, 1_000, ""]) == 0
        assert not valkey.client.exists(SEQUENCE)
        await lock.write(5, 60_000, history(valkey))
        assert valkey.client.get(SEQUENCE) == b"5"
        assert not valkey.client.exists(LOCK)

    with_lock(valkey, scenario)


def test_a_lock_that_expired_writes_nothing(valkey: Valkey) -> None:
    async def scenario(scripts: Scripts) -> None:
        lock = SeedLock(scripts, SEQUENCE)
        assert await lock.take()
        valkey.client.delete(LOCK)
        with pytest.raises(LockLostError):
            await lock.write(5, 60_000, history(valkey))
        assert await lock.take()
        valkey.client.set(LOCK, "somebody else's")
        with pytest.raises(LockLostError):
            await lock.keep_during(asyncio.sleep(5))
        assert valkey.client.get(LOCK) == b"somebody else's"

    with_lock(valkey, scenario)
    assert not valkey.client.exists(SEQUENCE)


def test_a_lock_is_renewed_while_the_work_lasts(valkey: Valkey) -> None:
    async def renewed() -> None:
        while valkey.client.pttl(LOCK) <= 3000:
            await asyncio.sleep(0.01)

    async def scenario(scripts: Scripts) -> None:
        lock = SeedLock(scripts, SEQUENCE, renew_seconds=0.05)
        assert await lock.take()
        valkey.client.pexpire(LOCK, 3000)
        await lock.keep_during(renewed())
        await lock.write(7, 60_000, history(valkey))

    with_lock(valkey, scenario)
    assert valkey.client.get(SEQUENCE) == b"7"


def test_a_lock_that_was_lost_means_starting_over(valkey: Valkey) -> None:
    """As when a chat is created, gets messages, and loses its key again during the seeding."""
    valkey.client.set(LOCK, "held", px=300)

    async def scenario(seeding: Seeding) -> None:
        accept(valkey.client, 3, chat=1, token=A)
        find, finds = seeding._find, []

        async def find_and_be_overtaken(creation: Creation) -> Found:
            finds.append(await find(creation))
            if len(finds) == 1:
                accept(valkey.client, 4, chat=1, token=A)
                valkey.client.delete(LOCK)
            return finds[-1]

        seeding._find = find_and_be_overtaken
        await seeding.seed_sequence(MESSAGE)
        assert [it.number for it in finds] == [3, 4]

    seed(valkey, scenario)
    assert valkey.client.get(SEQUENCE) == b"4"


def test_a_new_chat_deletes_the_lock_of_its_messages(valkey: Valkey) -> None:
    script = valkey.client.register_script(script_text(9, NO_LIMIT))
    chat = Creation(A, None, "", "r")
    valkey.client.set(chat.sequence_key, 6)
    seeded = keys.message_sequence(A, 7)
    valkey.client.set(keys.seed_lock(seeded), "a seeder's")
    names: list[str] = [keys.LIMITS]
    argument = pack_batch(Batch("b", ONLY, [Waiter(chat)]), names, again=False)
    script(names, [argument])
    assert valkey.client.get(seeded) == b"0"
    assert not valkey.client.exists(keys.seed_lock(seeded))


def test_nonexistent_collections_are_neither_seeded_nor_locked(valkey: Valkey) -> None:
    unknown = [Creation(B, None, "", "r"), Creation(B, 1, "x", "r"), Creation(A, 2, "x", "r")]

    async def scenario(seeding: Seeding) -> None:
        outcomes = await asyncio.gather(
            *(seeding.seed_sequence(creation) for creation in unknown), return_exceptions=True
        )
        assert [type(outcome) for outcome in outcomes] == [NotFound] * 3

    seed(valkey, scenario)
    for creation in unknown:
        # On a busy machine that may be over by now.
        assert valkey.client.get(creation.sequence_key) in {keys.UNKNOWN.encode(), None}
        assert -1 != valkey.client.pttl(creation.sequence_key) <= keys.UNKNOWN_TTL_MS
    assert not valkey.client.keys("lock:*")


def test_a_chat_whose_creation_is_in_the_backlog_exists_whatever_crud_says(valkey: Valkey) -> None:
    accept(valkey.client, 2, chat="", token=A)

    async def scenario(seeding: Seeding) -> None:
        await seeding.seed_sequence(Creation(A, 2, "x", "r"))

    seed(valkey, scenario)
    assert valkey.client.get(keys.message_sequence(A, 2)) == b"0"
