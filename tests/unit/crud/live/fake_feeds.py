"""What feeds need, without stores: reads that a test answers, a clock that a test moves."""

import asyncio
import heapq
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any, cast

from crud_service.live.cursor import Cursor
from crud_service.live.pace import Pace
from crud_service.reads.gathered_reads import GatheredReads, Waiting
from web.problems import Problem

START = Cursor(0, 0)


class Clock:
    """A loop with nothing but a time and timers."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._timers: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._order = count()

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> object:
        timer = (self.now + delay, next(self._order), callback, args)
        heapq.heappush(self._timers, timer)
        return timer

    def pass_seconds(self, seconds: float) -> None:
        """Let time pass, and call what becomes due."""
        end = self.now + seconds
        while self._timers and self._timers[0][0] <= end:
            self.now, _, callback, args = heapq.heappop(self._timers)
            callback(*args)
        self.now = end


@contextmanager
def clock_running() -> Iterator[Clock]:
    clock = Clock()
    asyncio._set_running_loop(cast("asyncio.AbstractEventLoop", clock))
    try:
        yield clock
    finally:
        asyncio._set_running_loop(None)


class Reads:
    """Keeps reads until the test answers them."""

    def __init__(self) -> None:
        self.waiting: list[Waiting] = []

    def find(self, waiting: Waiting, owner: str = "") -> None:
        self.waiting.append(waiting)

    def as_gathered(self) -> GatheredReads:
        return cast("GatheredReads", self)

    @property
    def keys(self) -> list[tuple[str, ...]]:
        return [waiting.key for waiting in self.waiting]

    def settle(self, found: bytes | Problem | None) -> None:
        """Answer the oldest read."""
        self.waiting.pop(0).settle(found)


class Listener:
    """A follower that keeps what it gets; it has room for some takes, or for any number."""

    def __init__(self, cursor: Cursor = START, room: int | None = None) -> None:
        self.cursor = cursor
        self.room = room
        self.taken: list[bytes] = []
        self.created: list[bool] = []

    def take(self, events: bytes, *, created: bool = False) -> bool:
        self.taken.append(events)
        self.created.append(created)
        if self.room is not None:
            self.room -= 1
        return self.room is None or self.room > 0


class Restless(Pace):
    """A pace that never asks for a rest."""

    def spent(self, seconds: float) -> None:
        """Count nothing."""
