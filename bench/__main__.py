"""The benchmarks: `python -m bench [SCENARIO...]`, all of them when none is named.

`python -m bench plots` draws the pictures of docs/performance.md from its tables instead, and
`python -m bench dashboard` what Grafana would show. `python -m bench.against
REVISION` has creations take turns with another revision's.

Each scenario runs on real stores of its own, on free ports, and ends them
itself. Ratios are taken against figures of the same run.
"""

import argparse
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from bench import report
from bench.creations import creations
from bench.dashboard import draw_dashboard
from bench.grams import grams
from bench.idle import idle
from bench.large import large
from bench.live import live
from bench.pace import pace
from bench.pipeline import pipeline
from bench.plots import write_plots
from bench.reads import reads
from bench.replicas import replicas
from bench.results import say
from bench.scenario import Run
from bench.search import search
from bench.shards import shards
from bench.sizes import FULL, QUICK
from bench.stack import forget_proxies
from bench.standby import standby
from bench.tools import BenchError, require_tools
from bench.transfer import transfer
from local_stack.applications import ROOT
from local_stack.compiled.tree import compile_sources
from local_stack.failure import StackError

SCENARIOS: dict[str, tuple[Callable[[Run], None], str]] = {
    "creations": (creations, "creating messages, beside the plain design"),
    "replicas": (replicas, "creating messages that a replica has to have on disk too"),
    "standby": (standby, "storing with a standby that commits wait for, reading from a replica"),
    "shards": (shards, "creating messages in three shards on one Redis, beside one"),
    "pipeline": (pipeline, "creations stored and indexed on the same machine"),
    "pace": (pace, "how soon messages are stored and found, from one at a time to a stream"),
    "live": (live, "streams: idle ones, one message to many, what creations lose, how soon"),
    "search": (search, "searches on both backends, checked against plain Python"),
    "grams": (grams, "PostgreSQL's trigrams (pg_trgm) beside our blocks of grams"),
    "reads": (reads, "GETs and PUTs, beside the same SQL in a bare callable"),
    "large": (large, "a page, a new message, a search and a vacuum in a table of --rows messages"),
    "transfer": (transfer, "imports and exports of two sizes, and their memory"),
    "idle": (idle, "what a stack takes of the processor while nobody asks"),
}
# They send no load: neither wrk nor redis-benchmark is needed.
WITHOUT_LOAD = {"grams", "idle", "pace", "transfer"}
INTERRUPTED = 130
# Not among the scenarios: they draw the pictures of the documents.
DRAWINGS: dict[str, Callable[[], list[Path]]] = {
    "plots": write_plots,
    "dashboard": draw_dashboard,
}


def main() -> int:
    """Run what was asked for; 1 when something could not be measured."""
    arguments = parse(sys.argv[1:])
    if arguments.list:
        for name, (_, meaning) in SCENARIOS.items():
            say(f"{name:<10} {meaning}")
        return 0
    output = arguments.output.resolve()
    prepare()
    try:
        if is_drawing(arguments.scenarios):
            say("\n".join(f"written: {path}" for path in DRAWINGS[arguments.scenarios[0]]()))
            return 0
        if not WITHOUT_LOAD.issuperset(arguments.scenarios or SCENARIOS):
            require_tools()
        return measure(arguments, output)
    except (BenchError, StackError) as error:
        sys.stderr.write(f"bench: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("bench: interrupted\n")
        return INTERRUPTED


def parse(words: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "scenarios", nargs="*", metavar="SCENARIO", help=f"any of: {', '.join(SCENARIOS)}"
    )
    parser.add_argument(
        "--quick", action="store_true", help="small sizes: that it runs, not how fast"
    )
    parser.add_argument("--rows", type=int, help="messages in the table of the scenario large")
    parser.add_argument("--list", action="store_true", help="name the scenarios and leave")
    parser.add_argument(
        "--output",
        type=Path,
        default=ROOT / "bench" / "results",
        help="directory of the results (bench/results)",
    )
    arguments = parser.parse_args(words)
    unknown = [name for name in arguments.scenarios if name not in SCENARIOS]
    if unknown and not is_drawing(arguments.scenarios):
        parser.error(f"unknown scenario {unknown[0]}: see --list")
    return arguments


def is_drawing(names: Sequence[str]) -> bool:
    return len(names) == 1 and names[0] in DRAWINGS


def prepare() -> None:
    """Run from the repository, on this machine alone, and clean up on SIGTERM as on Ctrl-C."""
    os.chdir(ROOT)
    forget_proxies()
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def measure(arguments: argparse.Namespace, output: Path) -> int:
    """Run the scenarios and report, whatever became of them."""
    sizes = QUICK if arguments.quick else FULL
    if arguments.rows:
        sizes = replace(sizes, large_rows=arguments.rows)
    compile_if_possible()
    run = Run(sizes, ROOT / ".local-bench")
    try:
        for name in arguments.scenarios or SCENARIOS:
            attempt(run, name)
    finally:
        if run.results.figures:
            report.show(run.results)
            report.write(run.results, run.sizes.name, output)
    return 1 if run.results.failures else 0  # a missed bound is a result, not a failure


def compile_if_possible() -> None:
    """Have compiled services measured; `COMPILED=0` has their sources measured."""
    if os.environ.get("COMPILED") == "0":
        return
    try:
        compile_sources()
    except StackError as error:
        say(f"the services run interpreted: {error}")


def attempt(run: Run, name: str) -> None:
    """One scenario; what makes it fail must not keep the others from being measured."""
    run.results.start(name)
    try:
        SCENARIOS[name][0](run)
    except Exception as error:
        if not isinstance(error, BenchError | StackError):
            traceback.print_exc()
        run.results.skip(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    sys.exit(main())
