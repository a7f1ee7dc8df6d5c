"""The worker as a process of the test's own: stuck, killed with its children, stopped.

Nothing else may have the leases meanwhile, so these tests are not in one module with others.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from contract.keys import ACCEPTED, LEASE_INDEX, LEASE_PERSIST, WAKE_UP_INDEX, WAKE_UP_PERSIST
from local_stack.ports import choose_port
from tests.integration.accepting import accept, accept_many, bodies, counts_that_differ
from tests.integration.numbering.surroundings import Valkey
from tests.integration.persist.worker_process import (
    WorkerProcess,
    count_messages,
    holder,
    is_drained,
    is_found,
    running_worker,
    wait_for_holders,
    wait_patiently,
)
from tests.polling import eventually

Environment = dict[str, str]


@pytest.fixture
def worker(clean_crud: Environment, database: str, tmp_path: Path) -> Iterator[WorkerProcess]:
    with running_worker(clean_crud, tmp_path / "worker.log") as running:
        yield running


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
            "drain.fill = lambda *_: time.sleep(1000)",
            "its work does not get on",
        ),
    ],
    ids=["no task is started", "work stands still"],
)
def test_a_stuck_child_is_replaced(
    clean_crud: Environment,
    database: str,
    stream: redis.Redis,
    tmp_path: Path,
    broken: str,
    reason: str,
) -> None:
    impatient = (
        "\nfrom crud_service.worker import sweep\nsweep.NEGLECTED_SECONDS = sweep.STUCK_SECONDS = 2"
    )
    with running_worker(clean_crud, tmp_path / "worker.log", broken + impatient) as worker:
        before = {child.pid for child in worker.children()}
        wait_patiently(lambda: reason in worker.output(), 10, worker.output)
        wait_patiently(lambda: worker.output().count("ready.") > 2, 10, worker.output)
        assert {child.pid for child in worker.children()} != before


def test_a_killed_worker_takes_its_children_along_and_another_takes_over(
    worker: WorkerProcess,
    clean_crud: Environment,
    database: str,
    stream: redis.Redis,
    tmp_path: Path,
) -> None:
    children = worker.children()
    assert len(children) == 2
    with running_worker(clean_crud, tmp_path / "standby.log") as standby:
        accept_many(stream, 0, 20_000)
        wait_for_holders(stream, worker)
        worker.kill()
        psutil.wait_procs(children, timeout=60)
        assert not any(child.is_running() for child in children)
        wait_patiently(lambda: is_drained(stream), 20, standby.output)
    assert count_messages(database) == 20_000
    assert counts_that_differ(database) == []


# A lease outlives a machine that stands still for some seconds, which is not what is tried.
LONG_LEASE_MS = 8000
LONG_LEASES = f"from contract import keys\nkeys.LEASE_TTL_MS = {LONG_LEASE_MS}"


def test_a_lease_is_kept_alive_however_long_a_batch_takes(
    clean_crud: Environment, database: str, stream: redis.Redis, tmp_path: Path
) -> None:
    with (
        running_worker(clean_crud, tmp_path / "worker.log", LONG_LEASES) as worker,
        running_worker(clean_crud, tmp_path / "standby.log", LONG_LEASES) as standby,
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


def test_sigterm_ends_a_working_worker_in_time_with_nothing_lost(
    worker: WorkerProcess, database: str, stream: redis.Redis
) -> None:
    children = worker.children()
    accept_many(stream, 0, 20_000)
    wait_patiently(lambda: count_messages(database) > 0, 5, worker.output)
    assert worker.terminate() == 0
    assert len(children) == 2
    assert not [child for child in children if psutil.pid_exists(child.pid)]
    assert not stream.exists(LEASE_PERSIST)
    left = stream.xlen(ACCEPTED)
    assert count_messages(database) == 20_000 - left
    assert counts_that_differ(database) == []


# Until then a child has the signal handlers of its parent.
FORKED_LATE = """
import time
from crud_service.worker.parent import Parent
close_in_child = Parent.close_in_child
def close_late(parent):
    time.sleep(2)
    close_in_child(parent)
Parent.close_in_child = close_late
"""


def test_sigterm_ends_children_that_have_just_been_forked(
    clean_crud: Environment, tmp_path: Path
) -> None:
    from crud_service.worker.parent import STOP_SECONDS

    worker = WorkerProcess(clean_crud, tmp_path / "worker.log", FORKED_LATE)
    try:
        wait_patiently(lambda: len(worker.children()) == 2, 10, worker.output)
        # Those that do not end are killed then.
        assert worker.terminate(STOP_SECONDS - 1) == 0
    finally:
        worker.kill()


def test_sigterm_ends_a_worker_whose_postgresql_does_not_answer(
    worker: WorkerProcess, database: str, stream: redis.Redis
) -> None:
    with psycopg.connect(database) as blocker:
        blocker.execute("LOCK TABLE messages")
        accept_many(stream, 0, 10)
        wait_patiently(lambda: bool(stream.exists(LEASE_PERSIST)), 5)
        assert worker.terminate() == 0
    assert stream.xlen(ACCEPTED) == 10


def test_a_worker_is_woken_through_a_broker_of_its_own(
    clean_crud: Environment, database: str, stream: redis.Redis, tmp_path: Path
) -> None:
    broker = clean_crud["REDIS_URL"].rpartition("/")[0] + "/15"
    own = {**clean_crud, "BROKER_URL": broker}
    with running_worker(own, tmp_path / "worker.log") as worker, redis.from_url(broker) as client:
        accept(stream, 1, "hello")
        wait_patiently(lambda: bodies(database) == [(1, "hello")], 3, worker.output)
        assert client.smembers("_kombu.binding.persist")
        assert not stream.exists("_kombu.binding.persist")
        client.flushdb()


def test_entries_are_stored_and_indexed_while_the_broker_is_unavailable(
    clean_crud: Environment, database: str, stream: redis.Redis, tmp_path: Path
) -> None:
    """Under load, the flags that tasks are on their way are set again and again."""
    stream.set(WAKE_UP_PERSIST, b"")
    stream.set(WAKE_UP_INDEX, b"")
    own = {**clean_crud, "BROKER_URL": f"redis://127.0.0.1:{choose_port()}/0"}
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


def test_a_broker_that_refuses_writes_is_left_with_no_connection_of_each_attempt(
    clean_crud: Environment, database: str, valkey: Valkey, tmp_path: Path
) -> None:
    own = {**clean_crud, "REDIS_URL": valkey.url}
    with running_worker(own, tmp_path / "worker.log") as worker:
        wait_for_holders(valkey.client, worker)
        before = len(valkey.client.client_list())
        valkey.client.config_set("min-replicas-to-write", 1)
        wait_patiently(lambda: worker.output().count("Cannot connect") >= 12, 15, worker.output)
        assert len(valkey.client.client_list()) <= before + 2
        valkey.client.config_set("min-replicas-to-write", 0)
        accept(valkey.client, 1, "hello")
        wait_patiently(lambda: bodies(database) == [(1, "hello")], 5, worker.output)


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
