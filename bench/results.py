"""What was measured: figures with their bounds, and series for the plot."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from bench.tools import Load


@dataclass(frozen=True, slots=True)
class Figure:
    """One number, and what it has to be if anybody set a bound for it."""

    scenario: str
    name: str
    value: float
    unit: str
    at_least: float | None = None
    at_most: float | None = None

    @property
    def bound(self) -> str:
        """The bound as a person reads it."""
        if self.at_least is not None:
            return f">= {readable(self.at_least)}"
        return "" if self.at_most is None else f"<= {readable(self.at_most)}"

    @property
    def verdict(self) -> str:
        """`ok`, `MISSED`, or nothing where there is no bound."""
        if not self.bound:
            return ""
        low = self.at_least is None or self.value >= self.at_least
        high = self.at_most is None or self.value <= self.at_most
        return "ok" if low and high else "MISSED"


@dataclass(frozen=True, slots=True)
class Series:
    """A line in a panel of the plot."""

    panel: str
    label: str
    points: list[tuple[float, float]]


def clients_text(count: int) -> str:
    return f"{count} client{'' if count == 1 else 's'}"


def readable(value: float) -> str:
    """A number with the digits that mean something."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


@dataclass
class Results:
    """Everything that a run found out; it says so while it goes on."""

    figures: list[Figure] = field(default_factory=list)
    series: list[Series] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    scenario: str = ""
    failed_requests: int = 0

    def start(self, scenario: str) -> None:
        """Name the scenario that the next figures belong to."""
        self.scenario, self.failed_requests = scenario, 0
        say(f"\n== {scenario}")

    def add(
        self,
        name: str,
        value: float,
        unit: str,
        *,
        at_least: float | None = None,
        at_most: float | None = None,
    ) -> None:
        """Keep a figure, and show it."""
        figure = Figure(self.scenario, name, value, unit, at_least, at_most)
        self.figures.append(figure)
        verdict = f"   {figure.bound}  {figure.verdict}" if figure.bound else ""
        say(f"   {name}: {readable(value)} {unit}{verdict}")

    def add_load(self, name: str, seen: Load, *, may_refuse: bool = False) -> None:
        """Keep the rate and the latencies of a load, and count what failed.

        `may_refuse`: that some are refused is a result here, and not a failure.
        """
        self.add(f"{name}: rate", seen.rate, "/s")
        self.add(f"{name}: p50", seen.p50_ms, "ms")
        self.add(f"{name}: p99", seen.p99_ms, "ms")
        if may_refuse:
            self.add(f"{name}: refused", seen.refused, "")
            seen = replace(seen, refused=0)
        self.count_failures(name, seen)

    def count_failures(self, name: str, seen: Load) -> None:
        """Remember the requests that failed, and say which they were."""
        self.failed_requests += seen.failed
        if seen.failed:
            say(f"   {name}: {seen.refused} REFUSED, {seen.broken} NOT ANSWERED")

    def draw(self, panel: str, label: str, points: Iterable[tuple[float, float]]) -> None:
        """Keep a line for the plot."""
        self.series.append(Series(panel, label, sorted(points)))

    def skip(self, reason: str) -> None:
        """Say that something could not be measured; the run then counts as failed."""
        self.failures.append(f"{self.scenario}: {reason}")
        say(f"   NOT MEASURED: {reason}")


def say(line: str) -> None:
    """Print a line at once, so that a long run shows what it is at."""
    print(line, flush=True)
