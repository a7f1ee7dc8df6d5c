"""Counts the log lines that the worker could not write, with its other metrics in Redis.

Logging must not wait for Redis: a thread does the counting, and ends once nothing is left.
"""

import os
import threading
import time

from redis import RedisError

from contract.keys import WORKER_METRICS
from crud_service.stores.redis_clients import shards, worker_redis

COUNTED_EVERY_SECONDS = 1.0
FIELD = "worker_log_lines_dropped"


class DroppedLines:
    """The number of dropped lines that are not counted in Redis yet."""

    def __init__(self) -> None:
        self.start_over()

    def start_over(self) -> None:
        """Reset to zero, as a forked child does: the parent counts its own lines."""
        self._lock = threading.Lock()
        self._lines = 0
        self._is_counting = False

    def note(self, lines: int) -> None:
        """Record dropped lines, and return at once."""
        with self._lock:
            self._lines += lines
            if self._is_counting:
                return
            self._is_counting = True
        threading.Thread(target=self._count, name="dropped-lines", daemon=True).start()

    def _count(self) -> None:
        while lines := self._take():
            try:
                first = shards().first
                worker_redis(first.number).hincrby(first.key(WORKER_METRICS), FIELD, lines)
            except RedisError:
                self.note(lines)
            time.sleep(COUNTED_EVERY_SECONDS)

    def _take(self) -> int:
        """Return the lines to count now; at zero, the thread ends."""
        with self._lock:
            lines, self._lines = self._lines, 0
            self._is_counting = lines > 0
            return lines


DROPPED_LINES = DroppedLines()
os.register_at_fork(after_in_child=DROPPED_LINES.start_over)
