"""One JSON line and one set of metrics for each request, at the price of an append.

A request only notes what happened; a thread writes the lines and moves the
metrics a few times a second, many at once. A log call and two metrics each
would cost more than the whole answer to a GET does.
"""

import atexit
import threading
import time
from functools import cache
from multiprocessing.util import Finalize

from prometheus_client import Counter, Histogram

from crud_service.monitoring.request_metrics import DURATION, METHODS, REQUESTS
from web.json_logs import standard_output, timestamp
from web.log_output import LogOutput

FLUSH_SECONDS = 0.05

# time, request id, method, route, path without tokens, status, seconds
Note = tuple[float, str, str, str, str, int, float]


class RequestLog:
    """Writes the lines, to standard output unless told otherwise."""

    def __init__(self, *, shown: bool = True, output: LogOutput | None = None) -> None:
        self.shown = shown
        self.output = output or standard_output()
        self._notes: list[Note] = []
        self._flushing = threading.Lock()
        self._is_noted = threading.Event()

    def note(
        self, request_id: str, method: str, route: str, path: str, status: int, seconds: float
    ) -> None:
        """Note a request that was answered; its path must be fit for a log."""
        self._notes.append((time.time(), request_id, method, route, path, status, seconds))
        if not self._is_noted.is_set():
            self._is_noted.set()

    def start(self) -> None:
        """Flush from now on, and once more when the process ends."""
        threading.Thread(target=self._flush_forever, name="request-log", daemon=True).start()
        atexit.register(self.flush)
        # Granian serves in a child of multiprocessing, which skips atexit.
        Finalize(None, self.flush, exitpriority=1)

    def _flush_forever(self) -> None:
        while True:
            self._is_noted.wait()
            time.sleep(FLUSH_SECONDS)
            self._is_noted.clear()
            self.flush()

    def flush(self) -> None:
        """Write and count what was noted."""
        with self._flushing:
            # Appending goes on meanwhile: what came after the copy stays for the next time.
            notes = self._notes[:]
            del self._notes[: len(notes)]
            for _, _, method, route, _, status, seconds in notes:
                counter(method, route, status).inc()
                timer(method, route).observe(seconds)
            if self.shown and notes:
                self.output.write("".join(map(line, notes)).encode())


def line(note: Note) -> str:
    """A request's line; its path and method were made safe to stand in quotes."""
    moment, request_id, method, _, path, status, seconds = note
    stamp = timestamp(int(moment * 1000))
    return (
        f'{{"time":"{stamp}","level":"info","service":"crud","message":"request",'
        f'"request_id":"{request_id}","method":"{method}","path":"{path}",'
        f'"status":{status},"duration_ms":{seconds * 1000:.2f}}}\n'
    )


@cache
def counter(method: str, route: str, status: int) -> Counter:
    """The counter of one kind of answer; finding it by its labels costs more than counting."""
    return REQUESTS.labels(method, route, str(status))


@cache
def timer(method: str, route: str) -> Histogram:
    """The histogram of one route."""
    return DURATION.labels(method, route)


def known_method(method: str) -> str:
    """A method as logs and metrics show it: anything but a handful of words is `other`."""
    return method if method in METHODS else "other"
