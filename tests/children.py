"""Processes that a test starts itself: none is left behind, whatever becomes of the test."""

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import psutil


@contextmanager
def child(command: Sequence[str], **options: Any) -> Iterator["subprocess.Popen[Any]"]:
    """Start a process, and wait for its end at the end of the block, as `Popen` does.

    If the block fails, the process is killed, with its group where it has one of its own: a test
    that fails before it ends its process would otherwise wait for it without limit.

    Args:
        command: the program and its arguments.
        options: those of `subprocess.Popen`.
    """
    with subprocess.Popen(command, **options) as process:
        try:
            yield process
        except BaseException:
            kill(process)
            raise


@contextmanager
def suspended(processes: Sequence[psutil.Process]) -> Iterator[None]:
    """Stop processes with SIGSTOP for the block; they may end before it or be killed within it."""
    for each in processes:
        with suppress(psutil.NoSuchProcess):
            each.suspend()
    try:
        yield
    finally:
        for each in processes:
            if each.is_running():
                each.resume()


def kill(process: "subprocess.Popen[Any]") -> None:
    """Kill a process and its group; one that has ended is fine."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            if os.getpgid(process.pid) == process.pid:
                os.killpg(process.pid, signal.SIGKILL)
        process.kill()


def is_running(pid: int) -> bool:
    """Return whether a process runs; one that its parent has yet to wait for does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
