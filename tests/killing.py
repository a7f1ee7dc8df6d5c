"""Work that is killed at random instants: what the programs of `line_program` have in common.

Forking saves the seconds that a new interpreter takes to start.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable

from tests.line_program import LineProgram

KILLED = "killed"


def fork_and_kill(work: Callable[..., None]) -> None:
    """For each line of input, do the work in a process of its own and kill it: a program.

    A line has the seconds until the kill, and the arguments of the work. The answer is KILLED.
    """
    for line in sys.stdin:
        seconds, *arguments = line.split()
        child = os.fork()
        if not child:
            try:
                work(*arguments)
            finally:
                os._exit(0)
        time.sleep(float(seconds))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        sys.stdout.write(json.dumps(KILLED) + "\n")
        sys.stdout.flush()


def kill_after(seconds: float, program: LineProgram, *arguments: object) -> None:
    """Have a program begin its work, and kill it after some seconds."""
    assert program.answer_to(" ".join(map(str, (seconds, *arguments)))) == KILLED
