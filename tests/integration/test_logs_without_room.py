"""A full disk for the logs, or a stalled log reader, costs only log lines."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

import httpx
import pytest
import redis

from contract.entries import FIELDS
from contract.keys import ACCEPTED, WORKER_METRICS
from local_stack.applications import ROOT, is_live
from local_stack.ports import PLAIN_HTTP, choose_port
from tests.integration.accepting import TOKEN, make_application, query
from tests.polling import wait_until

# In lines of two hundred bytes, several times what a pipe holds.
REQUESTS = 1_500
MESSAGES = 4_000
Environment = Mapping[str, str]
Start = Callable[..., "subprocess.Popen[bytes]"]
Room = Callable[[], AbstractContextManager[int]]

pytestmark = pytest.mark.timeout(180)


@contextmanager
def full_disk() -> Iterator[int]:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    yield descriptor
    os.close(descriptor)


@contextmanager
def idle_reader() -> Iterator[int]:
    """A pipe that nobody reads."""
    reading, writing = os.pipe()
    yield writing
    os.close(writing)
    os.close(reading)


without_room = pytest.mark.parametrize("room", [full_disk, idle_reader], ids=lambda it: it.__name__)


@pytest.fixture
def start(clean_crud: Environment) -> Iterator[Start]:
    """Start a module with its output and errors going to a descriptor."""
    started: list[subprocess.Popen[bytes]] = []

    def run(module: str, output: int, **environment: str) -> "subprocess.Popen[bytes]":
        own = {**os.environ, **clean_crud, "ELASTICSEARCH_URL": "", **environment}
        command = [sys.executable, "-m", module]
        started.append(subprocess.Popen(command, cwd=ROOT, env=own, stdout=output, stderr=output))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.wait()


@without_room
@pytest.mark.parametrize("module", ["crud_service", "numbering_service"])
def test_a_service_answers_and_counts_its_requests(module: str, room: Room, start: Start) -> None:
    port = str(choose_port())
    url = f"http://127.0.0.1:{port}"
    with room() as output:
        process = start(module, output, CRUD_PORT=port, NUMBERING_PORT=port)
        wait_until(lambda: is_live(url), 60)
        with httpx.Client(base_url=url, timeout=20, **PLAIN_HTTP) as client:
            for _ in range(REQUESTS):
                assert client.get("/nowhere").status_code == 404
            wait_until(lambda: counted(client) == REQUESTS, 60)
            if room is full_disk:
                dropped = "chat_log_lines_dropped_total"
                wait_until(lambda: metric(client, dropped) > REQUESTS / 2, 60)
        process.terminate()
        assert process.wait(60) == 0


def counted(client: httpx.Client) -> float:
    """Return the number of requests for unknown paths in the metrics."""
    return metric(client, 'chat_http_requests_total{method="GET",route="unknown",status="404"}')


def metric(client: httpx.Client, name: str) -> float:
    lines = client.get("/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} "))


@without_room
def test_the_worker_stores(room: Room, start: Start, clean_crud: Environment) -> None:
    make_application(clean_crud["DATABASE_URL"])
    with room() as output, redis.Redis.from_url(clean_crud["REDIS_URL"]) as stream:
        start("crud_service.worker", output)
        # The lines of the first batches fill a pipe.
        for first in (1, MESSAGES + 1):
            accept_with_long_ids(stream, first)
            wait_until(lambda: stream.xlen(ACCEPTED) == 0, 60)
        rows = query(clean_crud["DATABASE_URL"], "SELECT count(*) FROM messages")
        assert rows == [(2 * MESSAGES,)]
        if room is full_disk:
            wait_until(lambda: dropped_by_worker(stream) > 0, 60)


def accept_with_long_ids(stream: redis.Redis, first: int) -> None:
    """Accept messages whose request ids make long lines of the log."""
    with stream.pipeline(transaction=False) as pipeline:
        for number in range(first, first + MESSAGES):
            values = (TOKEN, "1", str(number), "a body", f"{number:0>100}")
            pipeline.xadd(ACCEPTED, dict(zip(FIELDS, values, strict=True)))
        pipeline.execute()


def dropped_by_worker(stream: redis.Redis) -> int:
    return int(stream.hget(WORKER_METRICS, "worker_log_lines_dropped") or 0)
