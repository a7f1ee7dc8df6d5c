"""Durations of requests as a histogram: what prometheus-client's own would show of them."""

import subprocess
import sys
from pathlib import Path

from prometheus_client import CollectorRegistry, Histogram, generate_latest, multiprocess

from web.batched_request_log import BatchedHistogram

NAME, HELP, LABELS, BOUNDS = "seconds", "Of requests.", ("method", "route"), (0.001, 0.5, 1, 10)
OBSERVED = {
    # On a bound, below and above each.
    ("GET", "/a"): [0.5, 0.0, 1.0, 0.25, 0.75, 0.001, 11.0, 10.0, 0.5],
    ("POST", '/"b"'): [20.0],
}
# Of a process that shares its metrics with others, the directory of which is in its environment.
ADD = """
from prometheus_client import CollectorRegistry
from tests.unit.web.test_durations import added
added(CollectorRegistry())
"""


def added(registry: CollectorRegistry) -> None:
    durations = BatchedHistogram(NAME, HELP, LABELS, buckets=BOUNDS, registry=registry)
    for labels, seconds in OBSERVED.items():
        durations.add(labels, seconds[:1])
        if seconds[1:]:
            durations.add(labels, seconds[1:])


def observed(times: int = 1) -> list[str]:
    """Return the exposition of the library's own histogram, without the times of creation."""
    registry = CollectorRegistry()
    histogram = Histogram(NAME, HELP, LABELS, buckets=BOUNDS, registry=registry)
    for labels, seconds in OBSERVED.items():
        for each in seconds * times:
            histogram.labels(*labels).observe(each)
    return exposed(registry)


def exposed(registry: CollectorRegistry) -> list[str]:
    lines = generate_latest(registry).decode().splitlines()
    return [
        line.rpartition(" ")[0] if line.startswith(f"{NAME}_created") else line for line in lines
    ]


def test_they_are_shown_as_by_the_library() -> None:
    registry = CollectorRegistry()
    added(registry)
    assert exposed(registry) == observed()


def test_one_without_labels_is_shown_before_there_are_any() -> None:
    shown, of_library = CollectorRegistry(), CollectorRegistry()
    BatchedHistogram(NAME, HELP, (), buckets=BOUNDS, registry=shown)
    Histogram(NAME, HELP, buckets=BOUNDS, registry=of_library)
    assert exposed(shown) == exposed(of_library)


def test_those_of_several_processes_are_added_up(tmp_path: Path) -> None:
    for _ in range(2):
        variables = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PYTHONPATH": str(Path.cwd())}
        subprocess.run([sys.executable, "-c", ADD], env=variables, check=True)
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry, str(tmp_path))  # type: ignore[no-untyped-call]
    shown = sorted(line for line in exposed(registry) if not line.startswith("#"))
    assert shown == sorted(
        line for line in observed(times=2) if not line.startswith("#") and "_created{" not in line
    )
