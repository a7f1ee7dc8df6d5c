"""The benchmarks run, in small sizes and on real stores, and clean up after themselves.

A round of them takes minutes, so all but one are run when SLOW_TESTS=1.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from bench.__main__ import SCENARIOS
from local_stack.applications import ROOT
from tests.children import child
from tests.polling import eventually

BENCH = [sys.executable, "-m", "bench"]
SLOW = os.environ.get("SLOW_TESTS") == "1"
slow = pytest.mark.skipif(not SLOW, reason="takes minutes: set SLOW_TESTS=1")

pytestmark = pytest.mark.skipif(
    not SLOW and not (shutil.which("wrk") and shutil.which("redis-benchmark")),
    reason="NO LOAD GENERATOR: wrk and redis-benchmark are not both installed",
)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "scenario", [pytest.param(name, marks=[slow] * (name != "reads")) for name in SCENARIOS]
)
def test_a_quick_scenario_leaves_its_results_and_no_process(scenario: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [*BENCH, scenario, "--quick", "--output", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["failures"] == []
    assert any(figure["bound"] and figure["verdict"] for figure in results["figures"])
    assert "bounds kept" in done.stdout
    assert (tmp_path / "results.md").read_text().count("\n| ") > 5
    if results["series"]:
        assert (tmp_path / "results.png").read_bytes().startswith(b"\x89PNG")
    assert processes_of_the_bench() == []


def test_an_interrupted_run_ends_its_processes(tmp_path: Path) -> None:
    command = [*BENCH, "creations", "--quick", "--output", str(tmp_path)]
    with child(command, cwd=ROOT, stdout=subprocess.DEVNULL) as running:
        eventually(processes_of_the_bench, bool, 60)
        running.send_signal(signal.SIGTERM)  # SIGINT is ignored behind a shell's `&`
        assert running.wait(60) == 130
    # A store that was asked to end may still be writing its last words.
    assert eventually(processes_of_the_bench, lambda it: it == [], seconds=30) == []


def test_a_missing_load_generator_is_named_in_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        BENCH, cwd=ROOT, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == ("bench: wrk is not installed (on Debian and Ubuntu: apt install wrk)\n")


def processes_of_the_bench() -> list[str]:
    """Return the running processes of a benchmark's stacks."""
    found = []
    for process in psutil.process_iter():
        try:
            directory = process.environ().get("CHAT_STACK_DIRECTORY", "")
        except (psutil.Error, OSError):
            continue
        if directory.startswith(str(ROOT / ".local-bench")) and directory.endswith("quick"):
            found.append(f"{process.pid} {directory}")
    return found
