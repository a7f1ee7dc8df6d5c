"""What the benchmarks read of processes, and what reading costs."""

import subprocess
import sys
from subprocess import PIPE

from bench.cost import MemoryWatch, cpu_seconds
from tests.children import child

BUSY = "import time\nwhile time.process_time() < 0.5: pass"
HAS_A_CHILD = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BUSY!r}])"
UNTIL_INPUT = "; print(flush=True); input()"


def test_processor_time_of_children_that_ended_is_counted() -> None:
    command = [sys.executable, "-c", HAS_A_CHILD + UNTIL_INPUT]
    with child(command, stdin=PIPE, stdout=PIPE) as process:
        process.stdout.readline()
        spent = cpu_seconds(process.pid)
        process.communicate(b"\n")
    assert spent >= 0.5


def test_a_watch_sees_memory_that_was_given_back() -> None:
    program = "import time; x = b'x' * 100_000_000; time.sleep(0.5); del x"
    with child([sys.executable, "-c", program + UNTIL_INPUT], stdin=PIPE, stdout=PIPE) as process:
        with MemoryWatch(process.pid) as memory:
            process.stdout.readline()
        process.communicate(b"\n")
    assert memory.highest > 100_000_000 / 2**20


def test_a_watch_goes_on_when_one_of_its_children_ends() -> None:
    late = "import subprocess, sys, time; c = subprocess.Popen(['sleep', '0.2']); print(flush=True)"
    late += "; c.wait(); x = b'x' * 100_000_000; time.sleep(0.5); del x"
    with child([sys.executable, "-c", late + UNTIL_INPUT], stdin=PIPE, stdout=PIPE) as process:
        process.stdout.readline()
        with MemoryWatch(process.pid) as memory:
            process.stdout.readline()
        process.communicate(b"\n")
    assert memory.highest > 100_000_000 / 2**20


def test_a_watch_hardly_takes_the_processor_from_what_is_measured() -> None:
    # In a process of its own: threads that other tests left behind would be counted, too.
    program = (
        "import os, time; from bench.cost import MemoryWatch; before = time.process_time()\n"
        "with MemoryWatch(os.getpid()): time.sleep(1)\n"
        "print(time.process_time() - before)"
    )
    spent = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert float(spent.stdout) < 0.1
