"""How much memory each process of a stack takes, and by how much it grew at the most."""

import psutil

from bench.running_stack import RunningStack
from bench.watch import Watch

SERVICES = ("crud", "numbering", "worker")
LOOK_SECONDS = 0.2
MEGABYTE = 1024 * 1024


class Growth(Watch):
    """Samples every process of our services while a `with` lasts."""

    def __init__(self, stack: RunningStack) -> None:
        super().__init__(LOOK_SECONDS)
        self._stack = stack
        self._before = resident(stack)
        self._highest = dict(self._before)

    @property
    def megabytes(self) -> dict[str, float]:
        """The growth of each process in MB, named for its service and process id."""
        return {
            name: (highest - self._before.get(name, highest)) / MEGABYTE
            for name, highest in self._highest.items()
        }

    def look(self) -> None:
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
