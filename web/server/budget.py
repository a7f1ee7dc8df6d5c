"""A byte budget that all connections of a process share."""

from collections.abc import Callable
from typing import Generic, TypeVar

from web.server import limits

Holder = TypeVar("Holder")


class Budget(Generic[Holder]):
    """Bytes held by connections; the one that has made no progress for longest gives way."""

    def __init__(self, limit: int, give_way: Callable[[Holder], None]) -> None:
        self._limit = limit
        self._give_way = give_way
        self._held: dict[Holder, int] = {}  # in order of the last progress
        self.total = 0
        self._large_pinned = 0

    def hold(self, holder: Holder, count: int) -> bool:
        """Record how many bytes a connection holds now; returns False if there is no room.

        That happens only after all other connections have given way.
        """
        self.total += count - self._held.pop(holder, 0)
        self._held[holder] = count
        while self.total > self._limit:
            oldest = next(iter(self._held))
            if oldest is holder:
                return False
            self.release(oldest)
            self._give_way(oldest)
        return True

    def pin(self, count: int) -> bool:
        """Take bytes that can't give way until unpinned; takes none and returns False if full."""
        is_large = count > limits.LARGE_BODY_BYTES
        if is_large and self._large_pinned + count > self._limit * limits.LARGE_BODIES_PART:
            return False
        self.total += count
        while self.total > self._limit:
            oldest = next(iter(self._held), None)
            if oldest is None:
                self.total -= count
                return False
            self.release(oldest)
            self._give_way(oldest)
        if is_large:
            self._large_pinned += count
        return True

    def unpin(self, count: int) -> None:
        """Give back what a call of `pin` took."""
        self.total -= count
        if count > limits.LARGE_BODY_BYTES:
            self._large_pinned -= count

    def release(self, holder: Holder) -> None:
        """Record that a connection holds nothing any more."""
        self.total -= self._held.pop(holder, 0)
