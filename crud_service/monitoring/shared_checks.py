"""Checks of the stores, shared by concurrent requests."""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Any, NamedTuple

from contract.shards import MAX_SHARDS

READY_SECONDS = 2.5
# One for each shard and each other store. They are started as they are needed.
MAX_THREADS = MAX_SHARDS + 2

Dependency = dict[str, Any]


class Checks:
    """Run checks concurrently, at most one of each kind.

    A check that hangs holds a thread of its own. Once it has run for `seconds`, later callers no
    longer wait for it, so a flood of probes needs few threads.
    """

    def __init__(self, seconds: float = READY_SECONDS) -> None:
        self._seconds = seconds
        self._threads = ThreadPoolExecutor(MAX_THREADS, thread_name_prefix="health")
        self._running: dict[str, Running] = {}
        self._lock = Lock()

    def run(self, checks: Mapping[str, Callable[[], Dependency]]) -> dict[str, Dependency]:
        """Return the result of each check; `unavailable` for one that takes too long."""
        with self._lock:
            for name, ask in checks.items():
                if name not in self._running or self._running[name].check.done():
                    self._running[name] = Running(self._threads.submit(ask), time.monotonic())
            running = {name: self._running[name] for name in checks}
        return {name: self._result(each) for name, each in running.items()}

    def _result(self, running: "Running") -> Dependency:
        seconds_left = running.started + self._seconds - time.monotonic()
        try:
            return running.check.result(max(0.0, seconds_left))
        except TimeoutError:
            return {"status": "unavailable", "latency_ms": self._seconds * 1000}


class Running(NamedTuple):
    """A check that was started, and when on the monotonic clock."""

    check: "Future[Dependency]"
    started: float
