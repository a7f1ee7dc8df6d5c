"""A JSON log line and metrics for each request, at the cost of a list append.

A request only appends a note; lines are written and metrics updated in batches, a few times
a second: at full load, a log call and two metric updates per request would cost more than
answering a GET or handing out a number.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence

from prometheus_client import Counter, Histogram

from web.json_logs import standard_output
from web.log_output import LogOutput, timestamp

FLUSH_SECONDS = 0.05

# Unix time, request id, method, route, path, status, seconds. The path has its tokens masked; it
# and the method go into JSON as they are.
Note = tuple[float, str, str, str, str, int, float]


class BatchedRequestLog:
    """Collects notes; `flush` writes their lines, by default to standard output, and counts them.

    `timer` returns the histogram of a method and route.
    """

    def __init__(
        self,
        service: str,
        requests: Counter,
        timer: Callable[[str, str], Histogram],
        *,
        shown: bool = True,
        output: LogOutput | None = None,
    ) -> None:
        self.shown = shown
        self.output = output or standard_output()
        self.notes: list[Note] = []
        self._service = service
        self._requests = requests
        self._timer = timer
        self._flushing = threading.Lock()

    def note(
        self, request_id: str, method: str, route: str, path: str, status: int, seconds: float
    ) -> None:
        """Record an answered request; `path` must be safe to log, and fit into a string of JSON."""
        self.notes.append((time.time(), request_id, method, route, path, status, seconds))
        self.flush_soon()

    def flush_soon(self) -> None:
        """Have `flush` called within FLUSH_SECONDS."""
        raise NotImplementedError

    def flush(self) -> None:
        """Write the lines and update the metrics of all notes so far."""
        with self._flushing:
            # Other threads keep appending: notes added after the copy are left for the next flush.
            notes = self.notes[:]
            del self.notes[: len(notes)]
            durations: defaultdict[tuple[str, str, int], list[float]] = defaultdict(list)
            for _, _, method, route, _, status, seconds in notes:
                durations[method, route, status].append(seconds)
            for (method, route, status), each_seconds in durations.items():
                self._requests.labels(method, route, str(status)).inc(len(each_seconds))
                observe = self._timer(method, route).observe
                for seconds in each_seconds:
                    observe(seconds)
            if self.shown and notes:
                self.output.write(render(self._service, notes).encode())


def render(service: str, notes: Sequence[Note]) -> str:
    lines = []
    last, stamp = 0, ""
    for moment, request_id, method, _, path, status, seconds in notes:
        milliseconds = int(moment * 1000)
        if milliseconds != last:  # whole batches are answered within one millisecond
            last, stamp = milliseconds, timestamp(milliseconds)
        duration = format(seconds * 1000, ".2f")
        lines.append(
            f'{{"time":"{stamp}","level":"info","service":"{service}","message":"request",'
            f'"request_id":"{request_id}","method":"{method}","path":"{path}",'
            f'"status":{status},"duration_ms":{duration}}}\n'
        )
    return "".join(lines)
