"""A deadline that moves with every request, at the cost of an assignment."""

import asyncio
import math
from collections.abc import Callable
from typing import Final

# Timers may fire slightly early; a deadline within this time counts as passed.
_RESOLUTION_SECONDS = 0.001
_NEVER: Final = math.inf


class Deadline:
    """Calls back when it has passed.

    Moving it later does not touch its timer, which checks the deadline when it fires:
    a busy connection makes a timer every minute or so instead of one per request.
    """

    __slots__ = ("_at", "_loop", "_overdue", "_timer", "_timer_at")

    def __init__(self, loop: asyncio.AbstractEventLoop, overdue: Callable[[], None]) -> None:
        self._loop = loop
        self._overdue = overdue
        self._at = self._timer_at = _NEVER
        self._timer: asyncio.TimerHandle | None = None

    def set(self, seconds: float) -> None:
        """Set the deadline to `seconds` from now."""
        self._at = self._loop.time() + seconds
        if self._timer is not None:
            if self._timer_at <= self._at:
                return
            self._timer.cancel()
        self._timer_at = self._at
        self._timer = self._loop.call_at(self._at, self._check)

    def clear(self) -> None:
        """Remove the deadline for now."""
        self._at = _NEVER

    def close(self) -> None:
        """Leave neither a timer nor a cycle of references behind."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._overdue = lambda: None

    def _check(self) -> None:
        self._timer = None
        left = self._at - self._loop.time()
        if left <= _RESOLUTION_SECONDS:
            self._overdue()
        elif left < _NEVER:
            self.set(left)
