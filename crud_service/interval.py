"""Limits how often something is done in this process."""

import math
import time


class Interval:
    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._began = -math.inf

    def has_passed(self) -> bool:
        """Return whether to do it now; if so, the next interval begins."""
        now = time.monotonic()
        if now - self._began < self._seconds:
            return False
        self._began = now
        return True
