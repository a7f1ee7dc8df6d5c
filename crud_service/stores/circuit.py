"""A circuit breaker: after a failure no calls for a while, then a single trial call."""

import threading
import time
from functools import cache

PAUSE_SECONDS = 3.0


class Circuit:
    """Whether to call a server that may be unavailable; one per process, thread-safe."""

    def __init__(self, pause: float = PAUSE_SECONDS):
        self._pause = pause
        self._lock = threading.Lock()
        self._failed = False
        self._ask_again_at = 0.0

    def may_ask(self) -> bool:
        """Return whether to call the server; after a pause, True for one caller only."""
        with self._lock:
            if not self._failed:
                return True
            if time.monotonic() < self._ask_again_at:
                return False
            self._ask_again_at = time.monotonic() + self._pause
            return True

    def succeeded(self) -> None:
        self._failed = False

    def failed(self) -> None:
        with self._lock:
            self._failed = True
            self._ask_again_at = time.monotonic() + self._pause


@cache
def circuit_of(user: str, server: str, pause: float = PAUSE_SECONDS) -> Circuit:
    """Return the circuit breaker of a use of a server, always the same one.

    Args:
        user: what the server is used for.
        server: its URL.
        pause: how many seconds it stays open.
    """
    return Circuit(pause)
