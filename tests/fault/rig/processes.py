"""What can be done to a part of a running stack, and to everything that it started."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

from bench.running_stack import RunningStack
from local_stack.process import is_ours
from tests.children import suspended
from tests.polling import wait_until
from tests.stopwatch import Stopwatch

OURS = ("numbering", "worker", "crud")
STORES = ("valkey", "postgres", "elasticsearch")
STOP_SECONDS = 10.0
# On which a part ends in good order; SIGTERM has PostgreSQL wait for its clients.
STOP_SIGNALS = {"postgres": signal.SIGINT}


def tree(pid: int) -> list[psutil.Process]:
    """A process and everything below it."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def serving(stack: RunningStack) -> list[psutil.Process]:
    """The processes of numbering that answer requests."""
    return serving_below(stack.pid("numbering"))


def serving_below(pid: int) -> list[psutil.Process]:
    """The same, by their parent; without multiprocessing's own processes."""
    return [each for each in psutil.Process(pid).children() if is_serving(each)]


def is_serving(process: psutil.Process) -> bool:
    try:
        return "spawn_main" in " ".join(process.cmdline())
    except psutil.Error:  # it has just ended
        return False


@contextmanager
def frozen(stack: RunningStack, name: str) -> Iterator[None]:
    """A part with all its processes stopped by SIGSTOP, and going on afterwards."""
    with suspended(tree(stack.pid(name))):  # PostgreSQL has one for each connection
        yield


@contextmanager
def away(stack: RunningStack, name: str) -> Iterator[None]:
    """A part killed with all its processes, and started again only afterwards."""
    assert stack.process is not None
    supervisor, pid = psutil.Process(stack.process.pid), stack.pid(name)
    supervisor.suspend()  # who would start it again at once
    try:
        dead = tree(pid)
        for process in dead:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        yield
    finally:
        supervisor.resume()
    stack.wait_replaced(name, pid)
    expect_gone(dead)


def kill_at_once(stack: RunningStack, *names: str) -> None:
    """kill -9 parts together, and wait until others took their places."""
    dead = {name: stack.pid(name) for name in names}
    left = [process for pid in dead.values() for process in tree(pid)]
    for name in names:
        stack.send(name, signal.SIGKILL)
    for name, pid in dead.items():
        stack.wait_replaced(name, pid)
    expect_gone(left)


def stop_in_order(stack: RunningStack, name: str) -> float:
    """Ask a part to end; returns how long that took, of it and of all that it started."""
    pid = stack.pid(name)
    processes = tree(pid)
    with Stopwatch() as watch:
        processes[0].send_signal(STOP_SIGNALS.get(name, signal.SIGTERM))
        wait_until(lambda: not is_alive(processes[0]), 60, stack.output)
    stack.wait_replaced(name, pid)
    expect_gone(processes)
    return watch.seconds


def is_alive(process: psutil.Process) -> bool:
    """Whether a process runs; one that only waits for its parent to look does not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def expect_gone(processes: list[psutil.Process]) -> None:
    """No process that a dead part had started outlives it for long."""
    psutil.wait_procs(processes, timeout=30)
    assert [process for process in processes if is_alive(process)] == []


def count_exits(stack: RunningStack, name: str, how: str) -> int:
    """How often the supervisor saw a part end in one way."""
    return stack.output().count(f"{name} died ({how})")


def processes_of(stack: RunningStack) -> list[psutil.Process]:
    """Everything that carries the stack's mark."""
    directory = stack.layout.directory
    return [process for process in psutil.process_iter() if is_ours(process, directory)]
