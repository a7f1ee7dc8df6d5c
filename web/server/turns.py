"""Splits work that would block the event loop for too long into turns."""

import asyncio
from collections import deque
from collections.abc import Callable


class Turns:
    """Runs one waiting turn per iteration of the loop, however many connections wait."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[Callable[[], None]] = deque()
        self._is_scheduled = False

    def wait(self, turn: Callable[[], None]) -> None:
        """Call `turn` once, after all that are already waiting."""
        self._waiting.append(turn)
        self._schedule()

    def _schedule(self) -> None:
        if self._waiting and not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._run_next)

    def _run_next(self) -> None:
        self._is_scheduled = False
        try:
            self._waiting.popleft()()
        finally:
            self._schedule()
