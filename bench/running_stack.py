"""Runs a whole stack as a separate process, as `make run` does.

    with RunningStack(directory, crud_port=3100, numbering_port=8180) as stack:
        httpx.post(f"{stack.crud_url}/applications", json={"name": "x"})
        stack.kill("worker")

For tests and benchmarks, which look at the system from outside.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

import psutil

from local_stack.applications import ROOT
from local_stack.failure import StackError
from local_stack.layout import Layout
from local_stack.ports import choose_port
from local_stack.stores.elasticsearch import is_green_enough

START_SECONDS = 300.0
STOP_SECONDS = 40.0


class RunningStack:
    """`python -m local_stack run` in a directory, by default on free ports."""

    command: Sequence[str] = (sys.executable, "-m", "local_stack", "run")

    def __init__(
        self,
        directory: Path,
        crud_port: int | None = None,
        numbering_port: int | None = None,
        environment: Mapping[str, str] | None = None,
    ):
        self.layout = Layout(directory)
        self.crud_port = crud_port or choose_port()
        self.numbering_port = numbering_port or choose_port({self.crud_port})
        self.extra = dict(environment or {})
        self.environment: dict[str, str] = {}
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start everything and wait until it is ready; raises StackError when that fails."""
        self.start_without_elasticsearch()
        try:
            self.wait_for_elasticsearch()
        except BaseException:
            self.stop()
            raise

    def start_without_elasticsearch(self) -> None:
        """Start everything and wait for all that creations and reads need."""
        self.launch()
        try:
            wait_until(self.has_started, START_SECONDS, "the stack did not start", self.output)
        except BaseException:
            self.stop()
            raise
        self.environment = self.layout.read_env()

    def wait_for_elasticsearch(self) -> None:
        if url := self.environment["ELASTICSEARCH_URL"]:
            failure = "Elasticsearch did not start"
            wait_until(lambda: is_green_enough(url), START_SECONDS, failure, self.output)

    def launch(self) -> None:
        self.layout.logs.mkdir(parents=True, exist_ok=True)
        self.layout.forget_run()
        with (self.layout.logs / "supervisor.log").open("wb") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=ROOT,
                env=self.supervisor_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def supervisor_environment(self) -> dict[str, str]:
        """Return the caller's environment without variables that refer to another stack."""
        foreign = {"CRUD_PUBLIC_URL", "HOST", "ADMIN_TOKEN", "MAKELEVEL"}
        inherited = {name: value for name, value in os.environ.items() if name not in foreign}
        own = {
            "LOCAL_DIR": str(self.layout.directory),
            "CRUD_PORT": str(self.crud_port),
            "NUMBERING_PORT": str(self.numbering_port),
        }
        return inherited | own | self.extra

    def has_started(self) -> bool:
        if self.process is None or self.process.poll() is not None:
            raise StackError(f"the stack exited immediately: {self.output()}")
        return self.layout.stack_env.exists()

    def output(self) -> str:
        return (self.layout.logs / "supervisor.log").read_text(errors="replace")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Stop the supervisor; returns its exit code."""
        if self.process is None:
            return 0
        self.process.send_signal(number)
        try:
            return self.process.wait(STOP_SECONDS)
        finally:
            self.process.kill()
            self.process = None

    @property
    def crud_url(self) -> str:
        return self.environment["CRUD_URL"]

    @property
    def numbering_url(self) -> str:
        return self.environment["NUMBERING_URL"]

    def pid(self, name: str) -> int:
        return int((self.layout.pids / name).read_text())

    def send(self, name: str, number: signal.Signals) -> int:
        """Send a signal to a part (SIGSTOP and SIGCONT too); returns its process id."""
        pid = self.pid(name)
        os.kill(pid, number)
        return pid

    def kill(self, name: str, seconds: float = 60) -> int:
        """Kill a part with SIGKILL and wait until it was restarted; returns the new process id."""
        dead = self.send(name, signal.SIGKILL)
        self.wait_replaced(name, dead, seconds)
        return self.pid(name)

    def wait_replaced(self, name: str, dead: int, seconds: float = 60) -> None:
        def replaced() -> bool:
            pid = self.pid(name)
            return pid != dead and psutil.pid_exists(pid)

        wait_until(replaced, seconds, f"{name} was not restarted", self.output)


def wait_until(
    condition: Callable[[], bool],
    seconds: float,
    failure: str,
    explain: Callable[[], str] = lambda: "",
) -> None:
    """Wait for a condition; raises StackError when it does not come true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise StackError(f"{failure} within {seconds:g} s\n{explain()}")
        time.sleep(0.05)
