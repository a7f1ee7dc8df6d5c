"""Limits for what requests hold while they last: memory, or a thread."""

from collections import Counter
from threading import RLock

from web.problems import Overloaded


class Places:
    """A limit of concurrent requests, in total and per owner; `refusal` says that it is reached."""

    def __init__(self, total: int, per_owner: int, refusal: str) -> None:
        self._refusal = refusal
        self._total = total
        self._per_owner = per_owner
        self._taken: Counter[str] = Counter()
        # Reentrant: garbage collection during `take` may run a destructor that gives a place back.
        self._lock = RLock()

    def take(self, owner: str) -> None:
        """Take a place; raise Overloaded at once if none is free."""
        with self._lock:
            full = self._taken.total() >= self._total
            if full or self._taken[owner] >= self._per_owner:
                raise Overloaded(self._refusal)
            self._taken[owner] += 1

    def give_back(self, owner: str) -> None:
        with self._lock:
            self._taken[owner] -= 1
            if not self._taken[owner]:
                del self._taken[owner]
