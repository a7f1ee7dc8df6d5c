"""Fair sharing of a limited number of concurrent seedings."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from web.problems import Overloaded


class Places:
    """A limited number of places, of which one application can hold a share.

    Waiting applications take turns, so one with thousands waiting delays
    another by one turn. When too many wait, the last one of the application
    with the most waiting is refused.
    """

    def __init__(self, places: int, *, per_application: int, max_waiting: int) -> None:
        self._free = places
        self._share = per_application
        self._max_waiting = max_waiting
        self._waiting = 0
        self._taken: Counter[str] = Counter()
        # In the order of their turns; no queue is empty.
        self._queues: dict[str, deque[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def place(self, access_token: str) -> AsyncIterator[None]:
        """Hold a place; raises Overloaded when too many wait."""
        await self._enter(access_token)
        try:
            yield
        finally:
            self._leave(access_token)

    async def _enter(self, token: str) -> None:
        if self._free and token not in self._queues and self._taken[token] < self._share:
            self._take(token)
            return
        if self._waiting >= self._max_waiting:
            self._make_room(token)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queues.setdefault(token, deque()).append(turn)
        self._waiting += 1
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and not turn.exception():
                self._leave(token)
            else:
                self._remove(token, turn)
            raise

    def _take(self, token: str) -> None:
        self._free -= 1
        self._taken[token] += 1

    def _leave(self, token: str) -> None:
        self._free += 1
        self._taken[token] -= 1
        if not self._taken[token]:
            del self._taken[token]
        self._hand_on()

    def _hand_on(self) -> None:
        """Give free places to the applications whose turn it is."""
        while self._free:
            eligible = (token for token in self._queues if self._taken[token] < self._share)
            token = next(eligible, None)
            if token is None:
                return
            queue = self._queues.pop(token)
            turn = queue.popleft()
            if queue:
                self._queues[token] = queue  # Behind all others.
            self._waiting -= 1
            if not turn.done():  # A cancelled one has not been removed yet.
                self._take(token)
                turn.set_result(None)

    def _make_room(self, token: str) -> None:
        """Refuse the last of the longest queue; raises Overloaded when that is the caller's."""
        longest = max(self._queues, key=lambda queued: len(self._queues[queued]))
        if len(self._queues[longest]) <= len(self._queues.get(token, ())) + 1:
            raise Overloaded
        turn = self._queues[longest][-1]
        self._remove(longest, turn)
        if not turn.done():
            turn.set_exception(Overloaded())

    def _remove(self, token: str, turn: "asyncio.Future[None]") -> None:
        queue = self._queues.get(token, deque())
        if turn in queue:
            queue.remove(turn)
            self._waiting -= 1
            if not queue:
                del self._queues[token]
