"""The worker as a process, whose children are killed and frozen: all tests share one."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from contract.keys import LEASE_INDEX, LEASE_PERSIST, LIMITS
from contract.tasks import INDEX_QUEUE, PERSIST_QUEUE
from tests.integration.accepting import (
    TOKEN,
    accept,
    accept_many,
    bodies,
    counts_that_differ,
    query,
)
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
from tests.log_lines import json_lines
from tests.polling import eventually

Environment = dict[str, str]


@pytest.fixture(scope="module")
def shared_worker(
    crud: Environment, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WorkerProcess]:
    log = tmp_path_factory.mktemp("shared") / "worker.log"
    with running_worker(crud, log) as running:
        yield running


@pytest.fixture
def worker(shared_worker: WorkerProcess, database: str, stream: redis.Redis) -> WorkerProcess:
    """A worker that has lost its leases with everything else in Redis, and has them again.

    Tests may kill its children, which it replaces.
    """
    wait_for_holders(stream, shared_worker)
    shared_worker.pass_over()
    return shared_worker


def child_at(stream: redis.Redis, worker: WorkerProcess, lease: str) -> psutil.Process:
    """Return the child with the duty of a lease: Redis knows it by the name of its connection."""
    from crud_service.stores.redis_clients import sweep_name

    queue = PERSIST_QUEUE if lease == LEASE_PERSIST else INDEX_QUEUE
    named = (each for each in stream.client_list() if each["name"] == sweep_name(queue))
    ports = {int(each["addr"].rpartition(":")[2]) for each in named}
    [child] = [
        child
        for child in worker.children()
        if ports & {connection.laddr.port for connection in child.net_connections()}
    ]
    return child


def test_a_terminals_signals_reach_the_children_through_their_parent(
    worker: WorkerProcess, database: str, stream: redis.Redis
) -> None:
    before = worker.children()
    for each in before:
        each.send_signal(signal.SIGINT)
    accept(stream, 1, "hello")
    wait_patiently(lambda: bodies(database) == [(1, "hello")], 3, worker.output)
    assert worker.children() == before
    assert "Ctrl+C" not in worker.output()


def test_entries_without_a_wake_up_are_stored_and_their_request_ids_logged(
    worker: WorkerProcess, database: str, stream: redis.Redis
) -> None:
    accept(stream, 1, "hello", request_id="request-of-the-message")
    wait_patiently(lambda: bodies(database) == [(1, "hello")], 3, worker.output)
    [line] = eventually(lambda: worker.lines(containing="batch stored"), bool, 10)
    assert line["request_ids"] == ["request-of-the-message"]
    assert line["messages"] == 1
    assert 0 <= line["lag_ms"] < 15_000


def test_the_log_is_json_and_hides_access_tokens(
    worker: WorkerProcess, database: str, stream: redis.Redis
) -> None:
    accept(stream, 1, "secret", token=TOKEN[::-1])
    wait_patiently(lambda: "entry set aside" in worker.output(), 3, worker.output)
    # All of the log, from the start of the process on.
    assert {line["service"] for line in json_lines(worker.log)} == {"worker"}
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
    child_at(stream, worker, lease).kill()
    accept(stream, 1)
    wait_patiently(lambda: is_found(database), 3, worker.output)


def test_the_successor_of_a_killed_child_continues_with_its_lease(
    worker: WorkerProcess, database: str, stream: redis.Redis
) -> None:
    before = holder(stream)
    stream.set(LEASE_PERSIST, before)  # never runs out, were it not for the successor
    child_at(stream, worker, LEASE_PERSIST).kill()
    accept(stream, 1)
    wait_patiently(lambda: is_drained(stream), 5, worker.output)
    assert holder(stream) == before


@pytest.mark.parametrize("lease", [LEASE_PERSIST, LEASE_INDEX])
def test_the_lease_of_a_worker_that_is_gone_ends_though_the_clock_was_set_back(
    worker: WorkerProcess, database: str, stream: redis.Redis, lease: str
) -> None:
    stream.set(lease, "gone", px=3_600_000)
    wait_patiently(lambda: "lease lost" in worker.output(), 10, worker.output)
    accept(stream, 1)
    wait_patiently(lambda: is_found(database), 15, worker.output)


def test_a_frozen_child_is_replaced(
    worker: WorkerProcess, database: str, stream: redis.Redis
) -> None:
    child_at(stream, worker, LEASE_PERSIST).suspend()
    accept(stream, 1)
    wait_patiently(lambda: is_drained(stream), 20, worker.output)
    assert "a child froze" in worker.output()
    assert len(worker.children()) == 2


def test_a_child_that_was_frozen_with_its_parent_is_left_alone(
    worker: WorkerProcess, database: str, stream: redis.Redis
) -> None:
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
    clean_crud: Environment,
    database: str,
    stream: redis.Redis,
    tmp_path: Path,
) -> None:
    with running_worker(clean_crud, tmp_path / "standby.log") as standby:
        first = holder(stream)
        accept_many(stream, 0, 20_000)
        wait_patiently(lambda: count_messages(database) > 0, 5, worker.output)
        busy = child_at(stream, worker, LEASE_PERSIST)
        busy.suspend()
        wait_patiently(lambda: holder(stream) not in (b"", first), 5, standby.output)
        busy.resume()
        accept_many(stream, 20_000, 1000)
        wait_patiently(lambda: is_drained(stream), 20, standby.output)
        assert holder(stream) != first
    assert count_messages(database) == 21_000
    assert counts_that_differ(database) == []
    assert query(database, "SELECT * FROM conflicts") == []


def test_persisting_does_not_wait_for_a_stuck_indexer(
    worker: WorkerProcess, database: str, stream: redis.Redis
) -> None:
    with psycopg.connect(database) as blocker:
        blocker.execute("LOCK TABLE search_texts")
        for number in range(1, 5):
            accept(stream, number)
            wait_patiently(lambda: is_drained(stream), 1, worker.output)
            time.sleep(1)
    wait_patiently(lambda: is_found(database, 4), 5, worker.output)


def test_rate_limits_that_redis_lost_are_copied_again(
    worker: WorkerProcess, database: str, stream: redis.Redis
) -> None:
    query(database, "UPDATE applications SET rate_limit = 10, rate_burst = 25")
    for _ in range(2):
        stream.flushdb()
        wait_patiently(lambda: stream.hget(LIMITS, TOKEN) == b"10 25", 10, worker.output)


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
