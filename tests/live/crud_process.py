"""Further crud processes on the stores of a running stack, with limits of their own."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bench.running_stack import RunningStack
from local_stack.ports import choose_port
from tests.integration.conftest import CrudServer, wait_until_live

RUN = """
import sys
from crud_service import __main__
from crud_service.live.stream_limits import StreamLimits
from web.server.limits import MIB, Limits
sys.exit(__main__.main({limits}))
"""

StartCrud = Callable[..., CrudServer]


@contextmanager
def crud_processes(stack: RunningStack) -> Iterator[StartCrud]:
    """A function that starts one; they are killed at the end.

    Its first argument is Python: the arguments of `crud_service.__main__.main`. Its keywords are
    environment variables.
    """
    started: list[CrudServer] = []

    def start(limits: str = "", **environment: str) -> CrudServer:
        port = choose_port()
        process = subprocess.Popen(
            [sys.executable, "-c", RUN.format(limits=limits)],
            env={**os.environ, **stack.environment, "CRUD_PORT": str(port), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(CrudServer(process, port))
        wait_until_live(started[-1])
        return started[-1]

    try:
        yield start
    finally:
        for server in started:
            server.process.kill()
            server.process.communicate()
