"""How management commands handle SIGTERM."""

import sys
from types import FrameType


def exit_on_signal(number: int, _frame: FrameType | None) -> None:
    """Exit as on Ctrl-C, so that what was begun is finished or undone."""
    sys.exit(128 + number)
