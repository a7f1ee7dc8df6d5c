"""How management commands handle SIGTERM and Ctrl-C."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class InterruptedCommand(SystemExit):
    """A signal has ended a command, whose exit code tells which."""


@contextmanager
def exit_on_signals() -> Iterator[None]:
    """Exit on SIGTERM and Ctrl-C once what was begun is finished or undone, without a traceback."""
    # A shell has the commands behind `&` ignore Ctrl-C.
    numbers = [
        number
        for number in (signal.SIGTERM, signal.SIGINT)
        if signal.getsignal(number) is not signal.SIG_IGN
    ]
    former = {number: signal.signal(number, _exit) for number in numbers}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _exit(number: int, _frame: FrameType | None) -> None:
    raise InterruptedCommand(128 + number)
