"""Ties a process to its parent, so that it does not outlive a parent that is killed."""

import ctypes
import sys

_PR_SET_PDEATHSIG = 1


def signal_when_parent_dies(number: int) -> None:
    """Have the kernel send this process a signal when its parent dies (on Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(number))
