"""Large requests, which are read in steps: the event loop does something else between two of them.

Applications take turns, a request each; one with many delays the others by one of them. The
request whose turn it is is read to its end before the next one, so that the values of only one
are in memory.
"""

import asyncio
from collections.abc import Callable, Iterator

from web.fair_queue import FairQueue
from web.server.turns import turns_of

# Reads a request and answers it, now or later.
Reading = Callable[[], Iterator[None]]


class LargeRequests:
    """Takes one step per iteration of the loop, however many requests wait."""

    def __init__(self) -> None:
        self._waiting: FairQueue[Reading] = FairQueue()
        self._steps: Iterator[None] | None = None
        self._is_scheduled = False

    def add(self, access_token: str, reading: Reading) -> None:
        """Read a request of an application once it is its turn; call it on the event loop."""
        self._waiting.push(access_token, reading)
        self._schedule()

    def finish(self) -> None:
        """Read all that wait at once."""
        while self._step():
            pass

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            turns_of(asyncio.get_running_loop()).wait("large", self._run)

    def _run(self) -> None:
        self._is_scheduled = False
        if self._step():
            self._schedule()

    def _step(self) -> bool:
        """Take one step; return whether there is another one to take."""
        if self._steps is None:
            if not self._waiting:
                return False
            self._steps = self._waiting.pop()()
        try:
            next(self._steps)
        except StopIteration:
            self._steps = None
        return self._steps is not None or bool(self._waiting)
