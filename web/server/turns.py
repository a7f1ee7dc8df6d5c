"""Splits work that would block the event loop for too long into turns."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from time import perf_counter
from typing import Final
from weakref import WeakKeyDictionary, proxy

# After an iteration of the loop that took longer than this, a pause as long comes before the next
# turn. The kernel lets a thread wait for a processor that has used its share of them. Turns without
# a pause use all of it where processors are scarce, so that whatever is urgent has to wait, too.
LONG_SECONDS: Final = 0.01
LONGEST_PAUSE_SECONDS: Final = 0.1


class Turns:
    """Runs one waiting turn per iteration of the loop, however many wait; kinds alternate."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, clock: Callable[[], float] = perf_counter
    ) -> None:
        self._loop: asyncio.AbstractEventLoop = proxy(loop)  # which these turns are found by
        self._clock = clock
        # By kind, in the order of their turns; none is empty.
        self._waiting: OrderedDict[str, deque[Callable[[], None]]] = OrderedDict()
        self._is_scheduled = False
        self._since = 0.0

    def wait(self, kind: str, turn: Callable[[], None]) -> None:
        """Call `turn` once, after those of its kind that are already waiting."""
        self._waiting.setdefault(kind, deque()).append(turn)
        if not self._is_scheduled:
            self._since = self._clock()
            self._schedule()

    def _schedule(self) -> None:
        self._is_scheduled = True
        self._loop.call_soon(self._look)

    def _look(self) -> None:
        """Run the next turn, after a pause if the last iteration took long."""
        seconds = self._clock() - self._since
        if seconds > LONG_SECONDS:
            self._loop.call_later(min(seconds, LONGEST_PAUSE_SECONDS), self._run_next)
        else:
            self._run_next()

    def _run_next(self) -> None:
        self._since = self._clock()
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
