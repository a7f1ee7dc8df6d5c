"""What a scenario is given, and the yardstick that all of them use."""

from dataclasses import dataclass, field
from pathlib import Path

from bench.results import Results
from bench.sizes import Sizes
from bench.stack import BenchStack
from bench.tools import increments_per_second

YARDSTICK_CLIENTS = 64


@dataclass
class Run:
    """One run of the benchmarks."""

    sizes: Sizes
    directory: Path
    results: Results = field(default_factory=Results)

    def data(self, name: str) -> Path:
        """Where a scenario's stack keeps its data."""
        return self.directory / f"{name}-{self.sizes.name}"

    def yardstick(self, stack: BenchStack, name: str) -> float:
        """INCR by 64 clients, measured anew before each group: the machine may be shared."""
        url = stack.environment["REDIS_URL"]
        rate = increments_per_second(url, YARDSTICK_CLIENTS, self.sizes.yardstick_requests)
        self.results.add(f"{name}: yardstick, INCR by 64 clients", rate, "/s")
        return rate

    def check_failures(self) -> None:
        """Every request of a scenario has to be answered as it should."""
        self.results.add("requests that failed", self.results.failed_requests, "", at_most=0)
