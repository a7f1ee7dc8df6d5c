"""Signals that end a process without an error: from its parent's death, and from Ctrl-C."""

import ctypes
import signal
import sys

_PR_SET_PDEATHSIG = 1


def signal_when_parent_dies(number: int) -> None:
    """Have the kernel send this process a signal when its parent dies (on Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(number))


def end_on_ctrl_c() -> None:
    """Have Ctrl-C end this process without a traceback, until it handles it otherwise.

    For programs, whose imports take a second or more. A shell has a program behind `&` ignore it.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
