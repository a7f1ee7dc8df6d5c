"""Splits work that would block the event loop for too long into turns."""

import asyncio
from collections.abc import Callable
from weakref import WeakKeyDictionary, proxy

from web.fair_queue import FairQueue


class Turns:
    """Runs one waiting turn per iteration of the loop, however many wait; kinds alternate."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop: asyncio.AbstractEventLoop = proxy(loop)  # which these turns are found by
        self._waiting: FairQueue[Callable[[], None]] = FairQueue()
        self._is_scheduled = False

    def wait(self, kind: str, turn: Callable[[], None]) -> None:
        """Call `turn` once, after those of its kind that are already waiting."""
        self._waiting.push(kind, turn)
        if not self._is_scheduled:
            self._schedule()

    def _schedule(self) -> None:
        self._is_scheduled = True
        self._loop.call_soon(self._run_next)

    def _run_next(self) -> None:
        turn = self._waiting.pop()
        try:
            turn()
        finally:
            self._is_scheduled = False
            if self._waiting:
                self._schedule()


_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, Turns] = WeakKeyDictionary()


def turns_of(loop: asyncio.AbstractEventLoop) -> Turns:
    """Return the turns that all that runs on a loop shares."""
    turns = _turns.get(loop)
    if turns is None:
        turns = _turns[loop] = Turns(loop)
    return turns
