"""Splits work that would block the event loop for too long into turns."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from weakref import WeakKeyDictionary, proxy


class Turns:
    """Runs one waiting turn per iteration of the loop, however many wait; kinds alternate."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop: asyncio.AbstractEventLoop = proxy(loop)  # which these turns are found by
        # By kind, in the order of their turns; none is empty.
        self._waiting: OrderedDict[str, deque[Callable[[], None]]] = OrderedDict()
        self._is_scheduled = False

    def wait(self, kind: str, turn: Callable[[], None]) -> None:
        """Call `turn` once, after those of its kind that are already waiting."""
        self._waiting.setdefault(kind, deque()).append(turn)
        if not self._is_scheduled:
            self._schedule()

    def _schedule(self) -> None:
        self._is_scheduled = True
        self._loop.call_soon(self._run_next)

    def _run_next(self) -> None:
        kind, turns = self._waiting.popitem(last=False)
        turn = turns.popleft()
        if turns:
            self._waiting[kind] = turns
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
