"""A circuit breaker: after a failure nobody asks for a while, then one asks again."""

import threading
import time

PAUSE_SECONDS = 3.0


class Circuit:
    """Whether to ask a server that may be away; one per process, for many threads."""

    def __init__(self, pause: float = PAUSE_SECONDS):
        self._pause = pause
        self._lock = threading.Lock()
        self._failed = False
        self._ask_again_at = 0.0

    def may_ask(self) -> bool:
        """Whether the caller should ask; of those who come after a pause only one is told to."""
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
