"""A real worker, as a process of its own, for the tests that kill and freeze it."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil
import redis

from contract.keys import ACCEPTED, LEASE_INDEX, LEASE_PERSIST
from local_stack.applications import ROOT
from tests.integration.accepting import query
from tests.log_lines import Line, json_lines, whole_lines
from tests.polling import wait_until
from tests.stopwatch import Stopwatch

BUSY_FACTOR = 10


class WorkerProcess:
    """`python -m crud_service.worker`, and what can be done to it.

    `broken` is Python that damages something first.
    """

    def __init__(self, environment: Mapping[str, str], log: Path, broken: str = ""):
        script = f"{broken}\nfrom crud_service.worker import parent\nparent.main()"
        self.log = log
        self.passed_over = 0
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, *(("-c", script) if broken else ("-m", "crud_service.worker"))],
                cwd=ROOT,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def wait_until_ready(self) -> None:
        wait_patiently(lambda: self.output().count("ready.") == 2, 30, self.output)

    def output(self) -> str:
        """Return its log, without what was passed over."""
        return "\n".join(whole_lines(self.log, self.passed_over))

    def lines(self, containing: str) -> list[Line]:
        """Return what the lines of its log hold that contain a text."""
        return json_lines(self.log, containing, self.passed_over)

    def pass_over(self) -> None:
        """Leave out of `output` what it has logged until now, during other tests."""
        self.passed_over = self.log.read_bytes().rfind(b"\n") + 1

    def children(self) -> list[psutil.Process]:
        """The processes that run the tasks."""
        found: list[psutil.Process] = psutil.Process(self.process.pid).children()
        return found

    def terminate(self, seconds: float = 10) -> int:
        """SIGTERM; returns the exit code, and fails when that takes too long."""
        with Stopwatch() as watch:
            self.process.send_signal(signal.SIGTERM)
            code = self.process.wait(60)
        assert watch.seconds < seconds, self.output()
        return code

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def running_worker(
    environment: Mapping[str, str], log: Path, broken: str = ""
) -> Iterator[WorkerProcess]:
    """A worker that takes tasks, and that is gone afterwards."""
    worker = WorkerProcess(environment, log, broken)
    try:
        worker.wait_until_ready()
        yield worker
    finally:
        worker.kill()


def wait_patiently(
    condition: Callable[[], bool], seconds: float, explain: Callable[[], str] = lambda: ""
) -> None:
    """`wait_until`, with the seconds of a quiet machine; a busy one is given more."""
    wait_until(condition, BUSY_FACTOR * seconds, explain)


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
