"""A queue in which the owners of what waits take turns, however much of it each has."""

from collections import OrderedDict, deque
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Items with owners; those of one owner stay in order."""

    def __init__(self) -> None:
        self._by_owner: OrderedDict[str, deque[T]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._by_owner)

    def push(self, owner: str, item: T) -> None:
        """Append an item."""
        queue = self._by_owner.get(owner)
        if queue is None:
            queue = self._by_owner[owner] = deque()
        queue.append(item)

    def pop(self) -> T:
        """Remove and return an item of the owner whose turn it is."""
        owner, queue = self._by_owner.popitem(last=False)
        item = queue.popleft()
        if queue:
            self._by_owner[owner] = queue  # to the end
        return item

    def take(self, most: int) -> list[T]:
        """Remove and return up to `most` items, one of each owner in turn."""
        if len(self._by_owner) == 1 and len(next(iter(self._by_owner.values()))) <= most:
            return self.take_all()
        taken: list[T] = []
        while self._by_owner and len(taken) < most:
            taken.append(self.pop())
        return taken

    def take_all(self) -> list[T]:
        """Remove and return everything."""
        queues = list(self._by_owner.values())
        self._by_owner.clear()
        return [item for queue in queues for item in queue]
