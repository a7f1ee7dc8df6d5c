"""Creations of applications whose window is full: they wait for room, each for a limited time.

So a client that sends faster than its messages are stored is slowed down, and refused only if that
does not help.
"""

from collections import deque
from collections.abc import Callable, Iterator
from time import monotonic

from numbering_service.creation import AnyCreation
from numbering_service.creations.pending import Pending

# Longer than a worker takes to take over from another one (`window.STALL_SECONDS`); clients wait
# longer still.
MAX_SECONDS = 5.0


class HeldBack:
    """A queue for each application, in the order of its requests."""

    def __init__(
        self, max_seconds: float = MAX_SECONDS, clock: Callable[[], float] = monotonic
    ) -> None:
        self._max_seconds = max_seconds
        self._clock = clock
        # Each with the time at which its patience ends.
        self._queues: dict[str, deque[tuple[float, Pending]]] = {}

    def __contains__(self, access_token: str) -> bool:
        return access_token in self._queues

    def __bool__(self) -> bool:
        return bool(self._queues)

    def __len__(self) -> int:
        return sum(map(len, self._queues.values()))

    def add(self, pending: Pending) -> None:
        queue = self._queues.setdefault(pending.creation.access_token, deque())
        queue.append((self._clock() + self._max_seconds, pending))

    def let_in(self, take: Callable[[AnyCreation], bool]) -> Iterator[Pending]:
        """Remove and yield those for which `take` returns that there was room, in order.

        And those whose clients have disconnected, for which it is not asked.
        """
        return self._take(lambda _, pending: pending.is_disconnected or take(pending.creation))

    def expire(self) -> Iterator[Pending]:
        """Remove and yield those that have waited for too long."""
        now = self._clock()
        return self._take(lambda until, _: until <= now)

    def clear(self) -> Iterator[Pending]:
        return self._take(lambda _, __: True)

    def _take(self, may_leave: Callable[[float, Pending], bool]) -> Iterator[Pending]:
        for access_token, queue in list(self._queues.items()):
            while queue and may_leave(*queue[0]):
                yield queue.popleft()[1]
            if not queue:
                del self._queues[access_token]
