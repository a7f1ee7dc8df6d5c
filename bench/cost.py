"""What processes cost, as the kernel counts it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import psutil

from bench.watch import Watch

MEGABYTE = 1024 * 1024
LOOK_SECONDS = 0.01


def family(pid: int) -> list[psutil.Process]:
    """A process and those that it started."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def cpu_seconds(pid: int) -> float:
    """Processor time of a process and its children since they started, also of those that ended."""
    return sum(map(seconds_of, family(pid)))


def seconds_of(process: psutil.Process) -> float:
    """Processor time of the process itself, and of the children that it outlived."""
    times = process.cpu_times()
    ended = getattr(times, "children_user", 0) + getattr(times, "children_system", 0)
    return float(times.user + times.system + ended)


def memory_megabytes(pid: int) -> float:
    """Resident memory of a process and its children."""
    return resident_megabytes(family(pid))


def resident_megabytes(processes: Sequence[psutil.Process]) -> float:
    return sum(map(resident_bytes, processes)) / MEGABYTE


def resident_bytes(process: psutil.Process) -> int:
    """Resident memory of a process, none once it has ended."""
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


class MemoryWatch(Watch):
    """The highest memory of a process, and of the children that it has, while the block runs."""

    def __init__(self, pid: int) -> None:
        super().__init__(LOOK_SECONDS)
        # Looked for once: it takes some milliseconds of the processor that is measured.
        self._processes = family(pid)
        self.before = self.highest = resident_megabytes(self._processes)

    def look(self) -> None:
        self.highest = max(self.highest, resident_megabytes(self._processes))


@dataclass
class Meter:
    """Processor time of processes from its creation on."""

    pids: dict[str, int]
    before: dict[str, float] = field(init=False)

    def __post_init__(self) -> None:
        self.before = self.read()

    def read(self) -> dict[str, float]:
        return {name: cpu_seconds(pid) for name, pid in self.pids.items()}

    def microseconds_each(self, requests: int) -> dict[str, float]:
        """Microseconds of each process for one request."""
        now = self.read()
        return {name: (now[name] - self.before[name]) * 1e6 / max(1, requests) for name in now}
