"""Further crud processes on the stores of a running stack, with limits of their own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bench.running_stack import RunningStack
from tests.integration.conftest import CrudServer

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
        command = ("-c", RUN.format(limits=limits))
        started.append(CrudServer.start(command, {**stack.environment, **environment}))
        return started[-1]

    try:
        yield start
    finally:
        for server in started:
            server.kill()
