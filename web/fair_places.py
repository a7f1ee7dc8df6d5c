"""A limited number of places: owners hold at most a share each, and those that wait take turns.

An owner with thousands waiting delays another one by one turn. For one event loop.
"""

import asyncio
from collections import Counter, deque


class FairPlaces:
    def __init__(self, places: int, share: int) -> None:
        self._free = places
        self._share = share
        self._taken: Counter[str] = Counter()
        # In the order of their turns; no queue is empty.
        self._queues: dict[str, deque[asyncio.Future[None]]] = {}
        self.waiting = 0

    def is_free_for(self, owner: str) -> bool:
        """Return whether `enter` takes a place at once."""
        return self._free > 0 and owner not in self._queues and self._taken[owner] < self._share

    def waiting_of(self, owner: str) -> int:
        return len(self._queues.get(owner, ()))

    def longest_queue(self) -> str:
        return max(self._queues, key=self.waiting_of)

    async def enter(self, owner: str) -> None:
        """Take a place, after a wait if none is free."""
        if self.is_free_for(owner):
            self._take(owner)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queues.setdefault(owner, deque()).append(turn)
        self.waiting += 1
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and not turn.exception():
                self.leave(owner)  # a place was taken, but nobody will use it
            else:
                self._remove(owner, turn)
            raise

    def leave(self, owner: str) -> None:
        self._free += 1
        self._taken[owner] -= 1
        if not self._taken[owner]:
            del self._taken[owner]
        self._hand_on()

    def refuse_last(self, owner: str, reason: Exception) -> None:
        """Have the last `enter` of a waiting owner raise an exception."""
        turn = self._queues[owner][-1]
        self._remove(owner, turn)
        if not turn.done():
            turn.set_exception(reason)

    def _take(self, owner: str) -> None:
        self._free -= 1
        self._taken[owner] += 1

    def _hand_on(self) -> None:
        while self._free:
            eligible = (owner for owner in self._queues if self._taken[owner] < self._share)
            owner = next(eligible, None)
            if owner is None:
                return
            queue = self._queues.pop(owner)
            turn = queue.popleft()
            if queue:
                self._queues[owner] = queue  # behind all others
            self.waiting -= 1
            if not turn.done():  # a cancelled one has not been removed yet
                self._take(owner)
                turn.set_result(None)

    def _remove(self, owner: str, turn: "asyncio.Future[None]") -> None:
        queue = self._queues.get(owner, deque())
        if turn in queue:
            queue.remove(turn)
            self.waiting -= 1
            if not queue:
                del self._queues[owner]
