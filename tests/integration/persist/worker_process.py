"""A real worker, as a process of its own, for the tests that kill and freeze it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

from local_stack.applications import ROOT

BUSY_FACTOR = 5


class WorkerProcess:
    """`python -m crud_service.worker`, and what can be done to it.

    `broken` is Python that damages something first.
    """

    def __init__(self, environment: Mapping[str, str], log: Path, broken: str = ""):
        script = f"{broken}\nfrom crud_service.worker import parent\nparent.main()"
        self.log = log
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
        wait_until(lambda: self.output().count("ready.") == 2, 30, self.output)

    def output(self) -> str:
        return self.log.read_text()

    def children(self) -> list[psutil.Process]:
        """The processes that run the tasks."""
        found: list[psutil.Process] = psutil.Process(self.process.pid).children()
        return found

    def terminate(self, seconds: float = 10) -> int:
        """SIGTERM; returns the exit code, or raises when that takes too long."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

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


def wait_until(
    condition: Callable[[], bool], seconds: float, explain: Callable[[], str] = lambda: ""
) -> float:
    """How many seconds it took for a condition to come true; fails when it does not.

    `seconds` are those of a quiet machine; a busy one is given more.
    """
    started = time.monotonic()
    while not condition():
        passed = time.monotonic() - started
        assert passed < BUSY_FACTOR * seconds, f"not within {passed:.1f} s\n{explain()}"
        time.sleep(0.02)
    return time.monotonic() - started
