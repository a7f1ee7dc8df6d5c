"""A real worker, as a process of its own, for the tests that kill and freeze it."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

from local_stack.applications import ROOT
from tests.polling import wait_until

BUSY_FACTOR = 10


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
        wait_patiently(lambda: self.output().count("ready.") == 2, 30, self.output)

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


def wait_patiently(
    condition: Callable[[], bool], seconds: float, explain: Callable[[], str] = lambda: ""
) -> None:
    """`wait_until`, with the seconds of a quiet machine; a busy one is given more."""
    wait_until(condition, BUSY_FACTOR * seconds, explain)
