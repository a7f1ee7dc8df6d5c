"""The worker as a process: woken, swept, killed, frozen, stopped."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from contract.keys import (
    ACCEPTED,
    LEASE_INDEX,
    LEASE_PERSIST,
    WAKE_UP_INDEX,
    WAKE_UP_PERSIST,
)
from local_stack.ports import choose_port
from tests.integration.accepting import (
    TOKEN,
    accept,
    accept_many,
    bodies,
    counts_that_differ,
    query,
)
from tests.integration.persist.worker_process import WorkerProcess, running_worker, wait_patiently
from tests.polling import eventually

Environment = dict[str, str]


@pytest.fixture
def environment(clean_crud: Environment) -> Environment:
    """Return the worker's environment, without Elasticsearch, whose start would be measured too."""
    return {**clean_crud, "ELASTICSEARCH_URL": ""}


@pytest.fixture
def worker(environment: Environment, database: str, tmp_path: Path) -> Iterator[WorkerProcess]:
    with running_worker(environment, tmp_path / "worker.log") as running:
        yield running


def is_drained(stream: redis.Redis) -> bool:
    return stream.xlen(ACCEPTED) == 0


def is_found(database: str, count: int = 1) -> bool:
    """Return whether this many messages are in PostgreSQL's search."""
    return query(database, "SELECT count(*) FROM search_texts") == [(count,)]


def count_messages(database: str) -> int:
    return int(query(database, "SELECT count(*) FROM messages")[0][0])


def holder(stream: redis.Redis, lease: str = LEASE_PERSIST) -> bytes:
    return bytes(stream.get(lease) or b"")


def wait_for_holders(stream: redis.Redis, worker: WorkerProcess) -> None:
    """Wait until a child is attending to each of the two duties."""
    wait_patiently(lambda: stream.exists(LEASE_PERSIST, LEASE_INDEX) == 2, 5, worker.output)


def pid_at(worker: WorkerProcess, lease: str) -> int:
    """Return the pid of the lease holder: the persisting child is started first."""
    first, second = sorted(worker.children(), key=lambda child: child.create_time())
    return int((first if lease == LEASE_PERSIST else second).pid)


def test_accepted_entries_are_stored_and_their_request_ids_logged(
    worker: WorkerProcess, database: str, stream: redis.Redis
) -> None:
    accept(stream, 1, "hello", request_id="request-of-the-message")
    wait_patiently(lambda: bodies(database) == [(1, "hello")], 3, worker.output)
    wait_patiently(lambda: "batch stored" in worker.output(), 1)
    [line] = [json.loads(text) for text in worker.output().splitlines() if "batch stored" in text]
    assert line["request_ids"] == ["request-of-the-message"]
    assert line["messages"] == 1
    assert 0 <= line["lag_ms"] < 15_000


def test_entries_without_a_wake_up_are_swept_up_within_seconds(
    worker: WorkerProcess, database: str, stream: redis.Redis
) -> None:
    accept(stream, 1)
    wait_patiently(lambda: bodies(database) == [(1, "hello")], 3, worker.output)


def test_the_log_is_json_and_hides_access_tokens(
    worker: WorkerProcess, database: str, stream: redis.Redis
) -> None:
    accept(stream, 1, "secret", token=TOKEN[::-1])
    wait_patiently(lambda: "entry set aside" in worker.output(), 3, worker.output)
    for line in worker.output().splitlines():
        assert json.loads(line)["service"] == "worker"
    assert TOKEN[::-1] not in worker.output()
    assert "secret" not in worker.output()


def test_a_child_killed_mid_batch_loses_nothing_and_is_replaced_within_seconds(
    worker: WorkerProcess, database: str, stream: redis.Redis
) -> None:
    accept_many(stream, 0, 20_000)
    wait_patiently(lambda: count_messages(database) > 0, 5, worker.output)
    for child in worker.children():
        child.kill()
    wait_patiently(lambda: is_drained(stream), 20, worker.output)
    assert count_messages(database) == 20_000
    assert counts_that_differ(database) == []
    assert query(database, "SELECT * FROM conflicts") == []


@pytest.mark.parametrize("lease", [LEASE_PERSIST, LEASE_INDEX])
def test_killing_an_idle_child_leaves_no_dead_interval(
    worker: WorkerProcess, database: str, stream: redis.Redis, lease: str
) -> None:
    wait_for_holders(stream, worker)
    psutil.Process(pid_at(worker, lease)).kill()
    accept(stream, 1)
    wait_patiently(lambda: is_found(database), 3, worker.output)


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        # Celery asks the broker for nothing.
        (
            "from kombu.transport.redis import MultiChannelPoller\n"
            "MultiChannelPoller.on_poll_start = lambda self: None",
            "it starts none of the tasks it is sent",
        ),
        # A store is waited for without a time-out.
        (
            "import time\nfrom crud_service.persist import drain\n"
            "drain.read_batch = lambda *_: time.sleep(1000)",
            "its work does not get on",
        ),
    ],
    ids=["no task is started", "work stands still"],
)
def test_a_stuck_child_is_replaced(
    environment: Environment,
    database: str,
    stream: redis.Redis,
    tmp_path: Path,
    broken: str,
    reason: str,
) -> None:
    impatient = (
        "\nfrom crud_service.worker import sweep\nsweep.NEGLECTED_SECONDS = sweep.STUCK_SECONDS = 2"
    )
    with running_worker(environment, tmp_path / "worker.log", broken + impatient) as worker:
        before = {child.pid for child in worker.children()}
        wait_patiently(lambda: reason in worker.output(), 10, worker.output)
        wait_patiently(lambda: worker.output().count("ready.") > 2, 10, worker.output)
        assert {child.pid for child in worker.children()} != before


def test_the_successor_of_a_killed_child_continues_with_its_lease(
    worker: WorkerProcess, database: str, stream: redis.Redis
) -> None:
    wait_for_holders(stream, worker)
    before = holder(stream)
    stream.set(LEASE_PERSIST, before)  # never runs out, were it not for the successor
    psutil.Process(pid_at(worker, LEASE_PERSIST)).kill()
    accept(stream, 1)
    wait_patiently(lambda: is_drained(stream), 5, worker.output)
    assert holder(stream) == before


def test_a_killed_worker_takes_its_children_along_and_another_takes_over(
    worker: WorkerProcess,
    environment: Environment,
    database: str,
    stream: redis.Redis,
    tmp_path: Path,
) -> None:
    children = worker.children()
    assert len(children) == 2
    with running_worker(environment, tmp_path / "standby.log") as standby:
        accept_many(stream, 0, 20_000)
        wait_for_holders(stream, worker)
        worker.kill()
        psutil.wait_procs(children, timeout=60)
        assert not any(child.is_running() for child in children)
        wait_patiently(lambda: is_drained(stream), 20, standby.output)
    assert count_messages(database) == 20_000
    assert counts_that_differ(database) == []


def test_a_frozen_child_is_replaced(
    worker: WorkerProcess, database: str, stream: redis.Redis
) -> None:
    wait_for_holders(stream, worker)
    psutil.Process(pid_at(worker, LEASE_PERSIST)).suspend()
    accept(stream, 1)
    wait_patiently(lambda: is_drained(stream), 20, worker.output)
    assert "a child froze" in worker.output()
    assert len(worker.children()) == 2


def test_a_child_that_was_frozen_with_its_parent_is_left_alone(
    worker: WorkerProcess, database: str, stream: redis.Redis
) -> None:
    wait_for_holders(stream, worker)
    processes = [psutil.Process(worker.process.pid), *worker.children()]
    for process in processes:
        process.suspend()
    time.sleep(11)
    for process in processes:
        process.resume()
    accept(stream, 1)
    wait_patiently(lambda: is_drained(stream), 5, worker.output)
    assert worker.children() == processes[1:]


def test_a_frozen_child_blocks_nothing_and_does_no_harm_when_it_wakes(
    worker: WorkerProcess,
    environment: Environment,
    database: str,
    stream: redis.Redis,
    tmp_path: Path,
) -> None:
    wait_for_holders(stream, worker)
    with running_worker(environment, tmp_path / "standby.log") as standby:
        first = holder(stream)
        accept_many(stream, 0, 20_000)
        wait_patiently(lambda: count_messages(database) > 0, 5, worker.output)
        busy = psutil.Process(pid_at(worker, LEASE_PERSIST))
        busy.suspend()
        wait_patiently(lambda: holder(stream) not in (b"", first), 5, standby.output)
        busy.resume()
        accept_many(stream, 20_000, 1000)
        wait_patiently(lambda: is_drained(stream), 20, standby.output)
        assert holder(stream) != first
    assert count_messages(database) == 21_000
    assert counts_that_differ(database) == []
    assert query(database, "SELECT * FROM conflicts") == []


# A lease outlives a machine that stands still for some seconds, which is not what is tried.
LONG_LEASE_MS = 8000
LONG_LEASES = f"from contract import keys\nkeys.LEASE_TTL_MS = {LONG_LEASE_MS}"


def test_a_lease_is_kept_alive_however_long_a_batch_takes(
    environment: Environment, database: str, stream: redis.Redis, tmp_path: Path
) -> None:
    with (
        running_worker(environment, tmp_path / "worker.log", LONG_LEASES) as worker,
        running_worker(environment, tmp_path / "standby.log", LONG_LEASES) as standby,
    ):
        wait_for_holders(stream, worker)
        holders = holder(stream), holder(stream, LEASE_INDEX)
        with psycopg.connect(database) as blocker:
            blocker.execute("LOCK TABLE messages, search_texts")
            accept_many(stream, 0, 100)
            time.sleep(1.5 * LONG_LEASE_MS / 1000)
        wait_patiently(lambda: is_found(database, 100), 5, worker.output)
        assert (holder(stream), holder(stream, LEASE_INDEX)) == holders
        stored = [each for each in (worker, standby) if "batch stored" in each.output()]
        assert len(stored) == 1


def test_persisting_does_not_wait_for_a_stuck_indexer(
    worker: WorkerProcess, database: str, stream: redis.Redis
) -> None:
    wait_for_holders(stream, worker)
    with psycopg.connect(database) as blocker:
        blocker.execute("LOCK TABLE search_texts")
        for number in range(1, 5):
            accept(stream, number)
            wait_patiently(lambda: is_drained(stream), 1, worker.output)
            time.sleep(1)
    wait_patiently(lambda: is_found(database, 4), 5, worker.output)


def test_an_outage_of_postgresql_is_waited_out(
    worker: WorkerProcess, database: str, stream: redis.Redis
) -> None:
    server, _, name = database.rpartition("/")
    with psycopg.connect(f"{server}/postgres", autocommit=True) as admin:
        admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        try:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
            )
            accept_many(stream, 0, 100)
            wait_patiently(lambda: "persisting waits" in worker.output(), 5, worker.output)
        finally:
            admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
    wait_patiently(lambda: is_drained(stream), 5, worker.output)
    assert count_messages(database) == 100
    assert query(database, "SELECT * FROM set_aside_entries") == []


def test_sigterm_ends_a_working_worker_in_time_with_nothing_lost(
    worker: WorkerProcess, database: str, stream: redis.Redis
) -> None:
    accept_many(stream, 0, 20_000)
    wait_patiently(lambda: count_messages(database) > 0, 5, worker.output)
    assert worker.terminate() == 0
    assert not stream.exists(LEASE_PERSIST)
    left = stream.xlen(ACCEPTED)
    assert count_messages(database) == 20_000 - left
    assert counts_that_differ(database) == []


def test_sigterm_ends_a_worker_whose_postgresql_does_not_answer(
    worker: WorkerProcess, database: str, stream: redis.Redis
) -> None:
    with psycopg.connect(database) as blocker:
        blocker.execute("LOCK TABLE messages")
        accept_many(stream, 0, 10)
        wait_patiently(lambda: bool(stream.exists(LEASE_PERSIST)), 5)
        assert worker.terminate() == 0
    assert stream.xlen(ACCEPTED) == 10


def test_an_idle_worker_uses_next_to_no_cpu(worker: WorkerProcess) -> None:
    processes = [psutil.Process(worker.process.pid), *worker.children()]

    def used() -> float:
        return sum(sum(process.cpu_times()[:2]) for process in processes)

    def used_in_five_seconds() -> float:
        before = used()
        time.sleep(5)
        return used() - before

    # Some things are done once at the start, which on a busy machine is not over soon.
    least = eventually(used_in_five_seconds, lambda it: it < 0.1, 60)
    assert least < 0.1, f"2 % of a core over 5 seconds\n{worker.output()}"


def test_no_child_outlives_a_graceful_parent(worker: WorkerProcess) -> None:
    children = worker.children()
    assert worker.terminate() == 0
    assert not [child for child in children if psutil.pid_exists(child.pid)]


def test_a_worker_is_woken_through_a_broker_of_its_own(
    environment: Environment, database: str, stream: redis.Redis, tmp_path: Path
) -> None:
    broker = environment["REDIS_URL"].rpartition("/")[0] + "/15"
    own = {**environment, "BROKER_URL": broker}
    with running_worker(own, tmp_path / "worker.log") as worker, redis.from_url(broker) as client:
        accept(stream, 1, "hello")
        wait_patiently(lambda: bodies(database) == [(1, "hello")], 3, worker.output)
        assert client.smembers("_kombu.binding.persist")
        assert not stream.exists("_kombu.binding.persist")
        client.flushdb()


def test_entries_are_stored_and_indexed_while_the_broker_is_unavailable(
    environment: Environment, database: str, stream: redis.Redis, tmp_path: Path
) -> None:
    """Under load, the flags that tasks are on their way are set again and again."""
    stream.set(WAKE_UP_PERSIST, b"")
    stream.set(WAKE_UP_INDEX, b"")
    own = {**environment, "BROKER_URL": f"redis://127.0.0.1:{choose_port()}/0"}
    worker = WorkerProcess(own, tmp_path / "worker.log")
    try:
        accept(stream, 1, "hello")
        wait_patiently(lambda: is_found(database), 10, worker.output)
        stream.set(WAKE_UP_PERSIST, b"")
        accept(stream, 2, "again")
        wait_patiently(lambda: is_found(database, 2), 5, worker.output)
        assert worker.terminate() == 0
    finally:
        worker.kill()
    assert bodies(database) == [(1, "hello"), (2, "again")]
