"""How many passwords may be tried on the operators' site, all callers together.

Checking one takes a third of a second of a processor, and behind a proxy all
callers have one address. So failures are paced, whoever they come from; those
who are logged in already notice nothing.
"""

import time
from collections.abc import Callable
from threading import Lock

from contract.problems import Overloaded

AT_ONCE = 10
SECONDS_EACH = 2.0


class LoginAttempts:
    """A bucket of attempts: a failed one is gone, and comes back after SECONDS_EACH."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left = float(AT_ONCE)
        self._seen = clock()
        self._lock = Lock()

    def begin(self) -> None:
        """Take an attempt; raises Overloaded when there is none."""
        with self._lock:
            now = self._clock()
            self._left = min(AT_ONCE, self._left + (now - self._seen) / SECONDS_EACH)
            self._seen = now
            if self._left < 1:
                raise Overloaded(
                    "Too many passwords were tried; wait a moment.", retry_after=int(SECONDS_EACH)
                )
            self._left -= 1

    def succeeded(self) -> None:
        """Give an attempt back."""
        with self._lock:
            self._left += 1
