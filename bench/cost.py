"""What processes cost, as the kernel counts it."""

from dataclasses import dataclass, field

import psutil

MEGABYTE = 1024 * 1024


def family(pid: int) -> list[psutil.Process]:
    """A process and those that it started."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def cpu_seconds(pid: int) -> float:
    """Processor time of a process and its children since they started."""
    times = [each.cpu_times() for each in family(pid)]
    return float(sum(each.user + each.system for each in times))


def memory_megabytes(pid: int) -> float:
    """Resident memory of a process and its children."""
    return float(sum(each.memory_info().rss for each in family(pid)) / MEGABYTE)


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
