"""The running service under load and during faults: real processes, a real Valkey."""

import asyncio
import contextlib
import json
import random
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import psutil
import pytest
import redis

from contract import keys
from local_stack.ports import LOOPBACK, choose_port, is_free
from tests.integration.numbering.surroundings import (
    CHATS,
    MESSAGES,
    A,
    B,
    Client,
    Numbering,
    Process,
    Reply,
    Storage,
    Valkey,
    freeze,
    load,
    request,
    storage,
)
from tests.stopwatch import Stopwatch

Scenario = Callable[[Storage], Awaitable[None]]


def run(valkey: Valkey, scenario: Scenario, *, chats: int = 1) -> Storage:
    """Run a scenario beside a `Storage` that knows application A with some chats."""

    async def whole() -> Storage:
        async with storage(valkey.url) as store:
            for number in range(1, chats + 1):
                store.chat(A, number)
            await scenario(store)
        return store

    store = asyncio.run(asyncio.wait_for(whole(), 240))
    assert not store.repeated
    return store


STARTED: list[Numbering] = []


@pytest.fixture(autouse=True)
def nothing_is_left_running() -> Iterator[None]:
    """Stop the services of a test that failed before it stopped them."""
    yield
    while STARTED:
        STARTED.pop().end(signal.SIGKILL)


async def start(directory: Path, valkey: Valkey, store: Storage, **environment: str) -> Numbering:
    """Start the service without blocking the event loop in which its crud answers."""
    service = await asyncio.to_thread(
        lambda: Numbering(directory, valkey.url, store.url, **environment)
    )
    STARTED.append(service)
    return service


async def end(*services: Numbering) -> None:
    for service in services:
        assert await asyncio.to_thread(service.end) == 0


async def post_message(client: Client, number: int, turn: int) -> Reply:
    return await client.post(MESSAGES, f"{client.port} {number} {turn}")


def exact(store: Storage, answers: list[Reply], chat: int | None = 1) -> None:
    """Check that every request was answered, the numbers are 1..N, and N are stored."""
    assert Counter(answer.status for answer in answers) == {201: len(answers)}
    assert sorted(answer.number for answer in answers) == list(range(1, len(answers) + 1))
    assert store.numbers(A, chat) == list(range(1, len(answers) + 1))


def test_valkey_killed_under_load_costs_no_error_and_no_number(
    tmp_path: Path, valkey: Valkey
) -> None:
    answers: list[Reply] = []

    async def scenario(store: Storage) -> None:
        service = await start(tmp_path, valkey, store)
        loading = asyncio.create_task(load(service.port, 64, 120, post_message))
        for away in (0.0, 0.5, 0.1):
            await asyncio.sleep(0.2)
            await asyncio.to_thread(valkey.restart, away)
        answers.extend(await loading)
        await end(service)

    store = run(valkey, scenario)
    exact(store, answers)
    bodies = Counter(entry.body for entry in store.entries)
    assert set(bodies.values()) == {1}


def test_valkey_killed_while_sequences_are_missing_costs_no_error(
    tmp_path: Path, valkey: Valkey
) -> None:
    async def ask(client: Client, number: int, turn: int) -> Reply:
        return await client.post(f"{CHATS}/{number * 5 + turn + 1}/messages", "cold")

    async def scenario(store: Storage) -> None:
        service = await start(tmp_path, valkey, store)
        loading = asyncio.create_task(load(service.port, 64, 5, ask))
        await asyncio.sleep(0.1)
        await asyncio.to_thread(valkey.restart, 0.5)
        assert [answer.number for answer in await loading] == [1] * 320
        await end(service)

    run(valkey, scenario, chats=320)


def test_a_longer_outage_of_valkey_is_reported_promptly_and_heals_by_itself(
    tmp_path: Path, valkey: Valkey
) -> None:
    async def scenario(store: Storage) -> None:
        service = await start(tmp_path, valkey, store, REDIS_PATIENCE_SECONDS="3")
        async with Client(service.port) as client:
            assert (await client.post(MESSAGES, "a")).number == 1
            valkey.kill()
            assert refused(await client.post(MESSAGES, "b"))
            started = time.monotonic()
            answers = await load(service.port, 16, 4, post_message)
            assert all(refused(answer) for answer in answers)
            assert time.monotonic() - started < 30  # one after the other takes 48
            assert (await client.request("GET", "/health/ready")).status == 503
            await asyncio.to_thread(valkey.start)
            assert (await client.post(MESSAGES, "c")).number == 2
            assert (await client.request("GET", "/health/ready")).status == 200
        await end(service)

    assert run(valkey, scenario).numbers() == [1, 2]


def refused(answer: Reply) -> bool:
    """Check for a 503 with `Retry-After`."""
    return answer.status == 503 and int(answer.headers["retry-after"]) >= 1


def test_two_services_continue_exactly_while_sequences_disappear(
    tmp_path: Path, valkey: Valkey
) -> None:
    answers: list[Reply] = []

    async def vanish() -> None:
        chance = random.Random(1)
        while True:
            for name in valkey.client.keys("sequence:*"):
                if chance.random() < 0.5:
                    valkey.client.delete(name)
            await asyncio.sleep(0.02)

    async def scenario(store: Storage) -> None:
        services = [await start(tmp_path, valkey, store) for _ in range(2)]
        vanishing = asyncio.create_task(vanish())
        loads = (load(service.port, 16, 40, post_message) for service in services)
        for replies in await asyncio.gather(*loads):
            answers.extend(replies)
        vanishing.cancel()
        await end(*services)

    exact(run(valkey, scenario), answers)


def test_a_thousand_cold_chats_at_once_are_each_looked_up_once(
    tmp_path: Path, valkey: Valkey
) -> None:
    async def ask(client: Client, number: int, turn: int) -> Reply:
        return await client.post(f"{CHATS}/{number * 10 + turn + 1}/messages", "x")

    async def scenario(store: Storage) -> None:
        for number in range(1, 1001):
            store.chat(A, number, highest_message=number % 7)
        service = await start(tmp_path, valkey, store)
        answers = await load(service.port, 100, 10, ask)
        expected = Counter((number % 7) + 1 for number in range(1, 1001))
        assert Counter(answer.number for answer in answers) == expected
        asked = [times for path, times in store.asked.items() if "/sequences/" in path]
        assert asked == [1] * 1000
        await end(service)

    run(valkey, scenario)


def test_without_crud_only_missing_sequences_are_refused(tmp_path: Path, valkey: Valkey) -> None:
    async def scenario(store: Storage) -> None:
        service = await start(tmp_path, valkey, store)
        async with Client(service.port) as client:
            assert (await client.post(MESSAGES, "warm")).number == 1
            store.answers_with = b"500 Internal Server Error"
            answer = await client.post(f"{CHATS}/2/messages", "cold")
            assert refused(answer)
            assert answer.code == "store_unavailable"
            assert (await client.post(MESSAGES, "warm")).number == 2
            ready = await client.request("GET", "/health/ready")
            assert (ready.status, json.loads(ready.body)["status"]) == (200, "degraded")
            store.answers_with = b"200 OK"
            assert (await client.post(f"{CHATS}/2/messages", "cold")).number == 1
        await end(service)

    store = run(valkey, scenario, chats=2)
    assert (store.numbers(A, 1), store.numbers(A, 2)) == ([1, 2], [1])


def test_a_crud_that_is_down_or_hangs_is_reported_within_seconds(
    tmp_path: Path, valkey: Valkey
) -> None:
    async def ask(client: Client, number: int, turn: int) -> Reply:
        return await client.post(f"{CHATS}/{number + 1}/messages", "x")

    async def hang(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            await asyncio.sleep(6)

    async def scenario(store: Storage) -> None:
        hanging = await asyncio.start_server(hang, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{hanging.sockets[0].getsockname()[1]}"
        for crud_url, most in (("http://127.0.0.1:1", 20), (url, 20)):
            store.url = crud_url
            service = await start(tmp_path, valkey, store, REDIS_PATIENCE_SECONDS="4")
            started = time.monotonic()
            assert all(refused(answer) for answer in await load(service.port, 200, 1, ask))
            assert time.monotonic() - started < most
            await end(service)
        hanging.close()

    assert not run(valkey, scenario).entries


def test_unknown_collections_reach_crud_at_most_once_a_second(
    tmp_path: Path, valkey: Valkey
) -> None:
    paths = (
        f"{CHATS}/77/messages",
        f"/applications/{B}/chats",
        f"/applications/{B}/chats/1/messages",
    )

    async def ask(client: Client, number: int, turn: int) -> Reply:
        return await client.post(paths[number % 3], "x")

    async def scenario(store: Storage) -> None:
        services = [await start(tmp_path, valkey, store) for _ in range(2)]
        started = time.monotonic()
        while time.monotonic() - started < 2.2:
            for service in services:
                answers = await load(service.port, 6, 20, ask)
                assert {answer.status for answer in answers} == {404}
        most = time.monotonic() - started + 1
        chat, application = (
            [path for path in store.asked.elements() if part in path] for part in (f"{A}/77", B)
        )
        assert 0 < len(chat) <= most
        assert 0 < len(application) <= 2 * most  # once for its chats, once for its messages
        await end(*services)

    assert not run(valkey, scenario).entries


def test_a_key_sent_concurrently_to_two_processes_creates_once(
    tmp_path: Path, valkey: Valkey
) -> None:
    async def scenario(store: Storage) -> None:
        services = [await start(tmp_path, valkey, store) for _ in range(2)]
        clients = [Client(service.port) for service in services for _ in range(8)]
        for turn in range(20):
            path = MESSAGES if turn % 2 else CHATS
            answers = await asyncio.gather(*(each.post(path, "x", f"k{turn}") for each in clients))
            assert len({answer.number for answer in answers}) == 1
            replayed = [answer.headers.get("idempotent-replayed") for answer in answers]
            assert (replayed.count(None), replayed.count("true")) == (1, 15)
            other = await clients[0].post(MESSAGES, "y", f"k{turn}")
            assert (other.status == 422) == (path == MESSAGES)
        for client in clients:
            await client.close()
        await end(*services)

    store = run(valkey, scenario)
    assert store.numbers(A, None) == list(range(1, 12))
    assert store.numbers(A, 1) == list(range(1, 21))


def test_sigterm_under_load_ends_in_order_and_keeps_every_answer(
    tmp_path: Path, valkey: Valkey
) -> None:
    answers: list[Reply] = []

    async def until_refused(port: int, number: int) -> None:
        client = Client(port)
        for turn in range(100_000):
            try:
                answers.append(await post_message(client, number, turn))
            except ConnectionError:
                return
            if answers[-1].status != 201:
                return

    async def scenario(store: Storage) -> None:
        service = await start(tmp_path, valkey, store)
        loading = [asyncio.create_task(until_refused(service.port, n)) for n in range(32)]
        await asyncio.sleep(0.5)
        with Stopwatch() as watch:
            assert await asyncio.to_thread(service.end) == 0
        assert watch.seconds < 10
        await asyncio.gather(*loading)

    store = run(valkey, scenario)
    assert {answer.status for answer in answers} == {201}
    exact(store, answers)


def test_sigterm_without_valkey_ends_within_ten_seconds(tmp_path: Path, valkey: Valkey) -> None:
    async def scenario(store: Storage) -> None:
        service = await start(tmp_path, valkey, store)
        async with Client(service.port) as client:
            assert (await client.post(MESSAGES, "a")).number == 1
            valkey.kill()
            waiting = asyncio.create_task(client.post(MESSAGES, "b"))
            await asyncio.sleep(0.2)
            with Stopwatch() as watch:
                assert await asyncio.to_thread(service.end) == 0
            assert watch.seconds < 10
            assert (await waiting).status in {0, 503}
        await asyncio.to_thread(valkey.start)

    run(valkey, scenario)


def test_creations_beyond_the_queue_are_refused_at_once(tmp_path: Path, valkey: Valkey) -> None:
    async def scenario(store: Storage) -> None:
        patient = {"REDIS_PATIENCE_SECONDS": "30"}
        service = await start(tmp_path, valkey, store, MAX_WAITING="20", **patient)
        async with Client(service.port) as client:
            assert (await client.post(MESSAGES, "warm")).number == 1
            assert valkey.process is not None
            freeze(valkey.process.popen.pid)
            try:
                # Two are batches of their own, on their way to Valkey; the others wait for them.
                loading = []
                for clients in (1, 1, 38):
                    loading += [
                        asyncio.create_task(load(service.port, 1, 1, post_message))
                        for _ in range(clients)
                    ]
                    await asyncio.sleep(0.4)
                # The first one to be answered was refused: from here on it is full.
                await asyncio.wait(loading, return_when=asyncio.FIRST_COMPLETED)
                started = time.monotonic()
                answer = await client.post(MESSAGES, "more")
                took = time.monotonic() - started
            finally:
                valkey.process.popen.send_signal(signal.SIGCONT)
            assert took < 20  # and not after the patience of the others
            assert refused(answer)
            assert answer.code == "overloaded"
            statuses = Counter([(await each)[0].status for each in loading])
            assert statuses[201] >= 10
            assert statuses[201] + statuses[503] == 40
        await end(service)

    store = run(valkey, scenario)
    assert store.numbers() == list(range(1, len(store.entries) + 1))


def test_texts_in_queries_are_part_of_what_waits(tmp_path: Path, valkey: Valkey) -> None:
    """One application may hold 16 MiB, of whichever part of its requests."""
    path = f"{MESSAGES}?body={'x' * 60_000}"

    async def scenario(store: Storage) -> None:
        service = await start(tmp_path, valkey, store)
        async with Client(service.port) as client:
            assert (await client.post(MESSAGES, "warm")).number == 1
        assert valkey.process is not None
        freeze(valkey.process.popen.pid)
        try:
            waiting = [
                asyncio.create_task(load(service.port, 1, 1, lambda it, *_: it.post(path)))
                for _ in range(320)
            ]
            refused_first, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            valkey.process.popen.send_signal(signal.SIGCONT)
        assert {(await each)[0].code for each in refused_first} == {"overloaded"}
        statuses = Counter([(await each)[0].status for each in waiting])
        assert statuses[201] > 250
        await end(service)

    run(valkey, scenario)


def test_a_full_stream_refuses_creations_until_entries_are_stored(
    tmp_path: Path, valkey: Valkey
) -> None:
    async def scenario(store: Storage) -> None:
        service = await start(tmp_path, valkey, store, MAX_BACKLOG="5")
        async with Client(service.port) as client:
            assert (await client.post(MESSAGES, "warm")).number == 1
            await nothing_waits(valkey)
            await store.pause()
            answers = [await client.post(MESSAGES, "x") for _ in range(7)]
            assert [answer.status for answer in answers] == [201] * 5 + [503] * 2
            assert refused(answers[-1])
            assert answers[-1].code == "overloaded"
            store.paused = False
            await nothing_waits(valkey)
            assert (await client.post(MESSAGES, "x")).number == 7
        await end(service)

    run(valkey, scenario)


async def nothing_waits(valkey: Valkey) -> None:
    while valkey.client.xlen(keys.ACCEPTED):
        await asyncio.sleep(0.01)


async def wait_for_metric(port: int, line: bytes) -> None:
    """Wait until /metrics has a line: the processes write theirs some time after the responses."""
    give_up = time.monotonic() + 60
    while line not in (await asyncio.to_thread(request, port, "GET", "/metrics")).body:
        assert time.monotonic() < give_up
        await asyncio.sleep(0.1)


def test_several_processes_serve_one_port_and_add_up(tmp_path: Path, valkey: Valkey) -> None:
    answers: list[Reply] = []

    async def scenario(store: Storage) -> None:
        own = {"NUMBERING_PROCESSES": "2", "TMPDIR": str(tmp_path)}
        service = await start(tmp_path, valkey, store, **own)
        shared_metrics = list(tmp_path.glob("numbering-metrics-*"))
        answers.extend(await load(service.port, 32, 20, post_message))
        await wait_for_metric(service.port, b"chat_created_total 640.0")
        children = psutil.Process(service.popen.pid).children(recursive=True)
        assert len(children) >= 2
        assert [path.exists() for path in shared_metrics] == [True]
        await end(service)
        assert not psutil.wait_procs(children, timeout=60)[1]
        assert [path.exists() for path in shared_metrics] == [False]

    exact(run(valkey, scenario), answers)


def test_a_killed_parent_leaves_nothing_on_the_port(tmp_path: Path, valkey: Valkey) -> None:
    port = choose_port()

    async def scenario(store: Storage) -> None:
        settings = {"NUMBERING_PROCESSES": "2", "NUMBERING_PORT": str(port)}
        service = await start(tmp_path, valkey, store, **settings)
        service.popen.kill()
        service.popen.wait()
        give_up = time.monotonic() + 60
        while not is_free(port):
            assert time.monotonic() < give_up
            await asyncio.sleep(0.05)
        again = await start(tmp_path, valkey, store, **settings)
        await end(again)

    run(valkey, scenario)


def test_a_taken_port_is_named_in_one_line(tmp_path: Path, valkey: Valkey) -> None:
    command = [sys.executable, "-m", "numbering_service"]
    with socket.create_server((LOOPBACK, 0)) as first:
        port = first.getsockname()[1]
        settings = {"NUMBERING_PORT": str(port), "REDIS_URL": valkey.url}
        with Process(tmp_path / "second.log", command, **settings) as second:
            assert second.popen.wait(60) != 0
    taken = [line for line in second.log.read_text().splitlines() if str(port) in line]
    assert taken == [f"cannot listen on {LOOPBACK}, port {port}: Address already in use"]


def test_a_broker_of_its_own_gets_the_wake_ups(tmp_path: Path, valkey: Valkey) -> None:
    broker = valkey.url.removesuffix("/0") + "/1"

    async def scenario(store: Storage) -> None:
        service = await start(tmp_path, valkey, store, BROKER_URL=broker)
        await load(service.port, 8, 10, post_message)
        await end(service)

    run(valkey, scenario)
    assert not valkey.client.exists("persist")
    with redis.Redis.from_url(broker) as client:
        # One a second, until a worker is there.
        assert client.llen("persist") >= 1


def test_only_a_wake_up_goes_to_the_broker(tmp_path: Path, valkey: Valkey) -> None:
    async def scenario(store: Storage) -> None:
        service = await start(tmp_path, valkey, store)
        await load(service.port, 8, 10, post_message)
        await end(service)

    run(valkey, scenario)
    tasks = valkey.client.lrange("persist", 0, -1)
    assert tasks
    for headers in (json.loads(task)["headers"] for task in tasks):
        assert headers["task"] == "chat.persist_accepted"
        assert headers["request_id"]
    assert not valkey.client.keys(keys.seed_lock("*"))
