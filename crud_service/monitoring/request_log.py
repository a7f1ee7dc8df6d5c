"""A JSON log line and metrics for each request, at the cost of a list append.

A request only appends a note; a background thread writes the lines and updates
the metrics in batches. A log call and two metric updates per request would cost
more than answering a GET.
"""

import atexit
import threading
import time
from functools import cache

from django.conf import settings
from prometheus_client import Counter, Histogram

from crud_service.monitoring.request_metrics import DURATION, REQUESTS
from web.json_logs import standard_output, timestamp
from web.log_output import LogOutput

FLUSH_SECONDS = 0.05

# time, request id, method, route, path without tokens, status, seconds
Note = tuple[float, str, str, str, str, int, float]


class RequestLog:
    """Write log lines, by default to standard output, and update the metrics."""

    def __init__(self, *, shown: bool = True, output: LogOutput | None = None) -> None:
        self.shown = shown
        self.output = output or standard_output()
        self._notes: list[Note] = []
        self._flushing = threading.Lock()
        self._is_noted = threading.Event()

    def note(
        self, request_id: str, method: str, route: str, path: str, status: int, seconds: float
    ) -> None:
        """Record an answered request; `path` must be safe to log."""
        self._notes.append((time.time(), request_id, method, route, path, status, seconds))
        if not self._is_noted.is_set():
            self._is_noted.set()

    def start(self) -> None:
        """Start the flushing thread, and flush once more at exit."""
        threading.Thread(target=self._flush_forever, name="request-log", daemon=True).start()
        atexit.register(self.flush)

    def _flush_forever(self) -> None:
        while True:
            self._is_noted.wait()
            time.sleep(FLUSH_SECONDS)
            self._is_noted.clear()
            self.flush()

    def flush(self) -> None:
        """Write the lines and update the metrics of all notes so far."""
        with self._flushing:
            # Other threads keep appending: notes added after the copy are left for the next flush.
            notes = self._notes[:]
            del self._notes[: len(notes)]
            for _, _, method, route, _, status, seconds in notes:
                counter(method, route, status).inc()
                timer(method, route).observe(seconds)
            if self.shown and notes:
                self.output.write("".join(map(line, notes)).encode())


def line(note: Note) -> str:
    """Format a log line; the path and method need no escaping, callers have made them safe."""
    moment, request_id, method, _, path, status, seconds = note
    stamp = timestamp(int(moment * 1000))
    return (
        f'{{"time":"{stamp}","level":"info","service":"crud","message":"request",'
        f'"request_id":"{request_id}","method":"{method}","path":"{path}",'
        f'"status":{status},"duration_ms":{seconds * 1000:.2f}}}\n'
    )


@cache
def counter(method: str, route: str, status: int) -> Counter:
    """Return a counter, cached because a lookup by labels costs more than the increment."""
    return REQUESTS.labels(method, route, str(status))


@cache
def timer(method: str, route: str) -> Histogram:
    """Return the histogram of a method and route, cached like `counter`."""
    return DURATION.labels(method, route)


@cache
def request_log() -> RequestLog:
    """Return the log of this process."""
    return RequestLog(shown=settings.LOG_LEVEL in {"DEBUG", "INFO"})
