"""The worker as a process: woken, swept, killed, frozen, stopped."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from contract.keys import ACCEPTED, LEASE_PERSIST
from contract.tasks import PERSIST_ACCEPTED, PERSIST_QUEUE, REQUEST_ID_HEADER
from tests.integration.accepting import (
    TOKEN,
    accept,
    accept_many,
    bodies,
    counts_that_differ,
    query,
)
from tests.integration.persist.worker_process import WorkerProcess, running_worker, wait_until

Environment = dict[str, str]


@pytest.fixture
def environment(clean_crud: Environment) -> Environment:
    """The worker's; without Elasticsearch, whose own start would be measured here too."""
    return {**clean_crud, "ELASTICSEARCH_URL": ""}


@pytest.fixture
def worker(environment: Environment, database: str, tmp_path: Path) -> Iterator[WorkerProcess]:
    with running_worker(environment, tmp_path / "worker.log") as running:
        yield running


def is_drained(stream: redis.Redis) -> bool:
    return stream.xlen(ACCEPTED) == 0


def count_messages(database: str) -> int:
    return int(query(database, "SELECT count(*) FROM messages")[0][0])


def wake(request_id: str) -> None:
    """Send the task as the numbering service does."""
    from crud_service.celery_app import app

    app.send_task(PERSIST_ACCEPTED, queue=PERSIST_QUEUE, headers={REQUEST_ID_HEADER: request_id})


def test_a_wake_up_stores_and_its_request_id_is_in_the_log(
    worker: WorkerProcess, database: str, stream: redis.Redis
) -> None:
    accept(stream, 1, "hello", request_id="request-of-the-message")
    wake("request-that-woke")
    wait_until(lambda: bodies(database) == [(1, "hello")], 3, worker.output)
    wait_until(lambda: "batch stored" in worker.output(), 1)
    [line] = [json.loads(text) for text in worker.output().splitlines() if "batch stored" in text]
    assert line["request_ids"] == ["request-of-the-message"]
    assert line["woken_by"] == "request-that-woke"
    assert line["messages"] == 1
    assert 0 <= line["lag_ms"] < 15_000


def test_what_nobody_woke_for_is_swept_up_within_seconds(
    worker: WorkerProcess, database: str, stream: redis.Redis
) -> None:
    accept(stream, 1)
    wait_until(lambda: bodies(database) == [(1, "hello")], 3, worker.output)


def test_the_log_is_json_and_hides_access_tokens(
    worker: WorkerProcess, database: str, stream: redis.Redis
) -> None:
    accept(stream, 1, "secret", token=TOKEN[::-1])
    wait_until(lambda: "entry set aside" in worker.output(), 3, worker.output)
    for line in worker.output().splitlines():
        assert json.loads(line)["service"] == "worker"
    assert TOKEN[::-1] not in worker.output()
    assert "secret" not in worker.output()


def test_a_child_killed_in_mid_batch_loses_nothing_and_is_replaced_within_seconds(
    worker: WorkerProcess, database: str, stream: redis.Redis
) -> None:
    accept_many(stream, 0, 20_000)
    wait_until(lambda: count_messages(database) > 0, 5, worker.output)
    for child in worker.children():
        child.kill()
    wait_until(lambda: is_drained(stream), 20, worker.output)
    assert count_messages(database) == 20_000
    assert counts_that_differ(database) == []
    assert query(database, "SELECT * FROM conflicts") == []


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
        wait_until(lambda: bool(stream.exists(LEASE_PERSIST)), 5)
        worker.kill()
        psutil.wait_procs(children, timeout=10)
        assert not any(child.is_running() for child in children)
        wait_until(lambda: is_drained(stream), 20, standby.output)
    assert count_messages(database) == 20_000
    assert counts_that_differ(database) == []


def test_a_frozen_child_holds_up_nothing_and_does_no_harm_when_it_wakes(
    worker: WorkerProcess, database: str, stream: redis.Redis
) -> None:
    accept_many(stream, 0, 20_000)
    wait_until(lambda: count_messages(database) > 0, 5, worker.output)
    busy = max(worker.children(), key=lambda child: child.cpu_times().user)
    busy.suspend()
    wait_until(lambda: is_drained(stream), 30, worker.output)
    busy.resume()
    accept_many(stream, 20_000, 1000)
    wait_until(lambda: is_drained(stream), 10, worker.output)
    assert count_messages(database) == 21_000
    assert counts_that_differ(database) == []
    assert query(database, "SELECT * FROM conflicts") == []


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
            wait_until(lambda: "persisting waits" in worker.output(), 5, worker.output)
        finally:
            admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
    wait_until(lambda: is_drained(stream), 5, worker.output)
    assert count_messages(database) == 100
    assert query(database, "SELECT * FROM set_aside_entries") == []


def test_sigterm_ends_a_working_worker_in_time_with_nothing_lost(
    worker: WorkerProcess, database: str, stream: redis.Redis
) -> None:
    accept_many(stream, 0, 20_000)
    wait_until(lambda: count_messages(database) > 0, 5, worker.output)
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
        wait_until(lambda: bool(stream.exists(LEASE_PERSIST)), 5)
        assert worker.terminate() == 0
    assert stream.xlen(ACCEPTED) == 10


def test_an_idle_worker_uses_next_to_no_cpu(worker: WorkerProcess) -> None:
    processes = [psutil.Process(worker.process.pid), *worker.children()]

    def used() -> float:
        return sum(sum(process.cpu_times()[:2]) for process in processes)

    time.sleep(3)  # until everything that is done once is done
    before = used()
    time.sleep(5)
    assert used() - before < 0.1, f"2 % of a core over 5 seconds\n{worker.output()}"


def test_the_children_outlive_no_parent_that_ends_in_order(worker: WorkerProcess) -> None:
    children = worker.children()
    assert worker.terminate() == 0
    assert not [child for child in children if psutil.pid_exists(child.pid)]
