"""What a stack costs that nobody asks anything: the processor's time of each of its processes."""

import time

import psutil

from bench.cost import cpu_seconds, seconds_of
from bench.running_stack import RunningStack
from bench.scenario import Run
from bench.stack import fresh

# The whole of `make run` without Elasticsearch, in hundredths of a core.
PERCENT_OF_A_CORE = 1.0
PARTS = ("postgres", "valkey", "crud", "worker", "numbering")


def idle(run: Run) -> None:
    """Start everything but Elasticsearch as `make run` does, and watch it do nothing."""
    environment = {"WITHOUT_ELASTICSEARCH": "1"}
    with RunningStack(fresh(run.data("idle")), environment=environment) as stack:
        time.sleep(run.sizes.settle_seconds)
        before, started = seconds_of_parts(stack), time.monotonic()
        time.sleep(run.sizes.idle_seconds)
        after, passed = seconds_of_parts(stack), time.monotonic() - started
    percent = {name: 100 * (after[name] - before[name]) / passed for name in after}
    for name, value in percent.items():
        run.results.add(f"idle: {name}", value, "% of a core")
    total = sum(percent.values())
    run.results.add("idle: everything", total, "% of a core", at_most=PERCENT_OF_A_CORE)


def seconds_of_parts(stack: RunningStack) -> dict[str, float]:
    """The processor's time that each part has taken so far, with all that it started."""
    assert stack.process is not None
    seconds = {name: cpu_seconds(stack.pid(name)) for name in PARTS}
    return {**seconds, "supervisor": seconds_of(psutil.Process(stack.process.pid))}
