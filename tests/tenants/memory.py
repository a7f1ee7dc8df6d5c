"""How much memory each process of a stack takes, and by how much it grew at the most."""

import threading
from typing import Self

import psutil

from bench.running_stack import RunningStack

SERVICES = ("crud", "numbering", "worker")
LOOK_SECONDS = 0.2
MEGABYTE = 1024 * 1024


class Growth:
    """Samples every process of our services while a `with` lasts."""

    def __init__(self, stack: RunningStack) -> None:
        self._stack = stack
        self._before = resident(stack)
        self._highest = dict(self._before)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, name="memory")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def megabytes(self) -> dict[str, float]:
        """The growth of each process in MB, named for its service and process id."""
        return {
            name: (highest - self._before.get(name, highest)) / MEGABYTE
            for name, highest in self._highest.items()
        }

    def _look(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            for name, size in resident(self._stack).items():
                self._highest[name] = max(size, self._highest.get(name, 0))


def resident(stack: RunningStack) -> dict[str, int]:
    """Bytes that each process of our services holds in memory."""
    sizes: dict[str, int] = {}
    for service in SERVICES:
        parent = psutil.Process(stack.pid(service))
        for process in [parent, *parent.children(recursive=True)]:
            try:
                sizes[f"{service} {process.pid}"] = process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
    return sizes
