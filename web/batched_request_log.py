"""A JSON log line and metrics for each request, at the cost of a list append.

A request only appends a note; lines are written and metrics updated in batches, a few times
a second: at full load, a log call and two metric updates per request would cost more than
answering a GET or handing out a number.
"""

import threading
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import accumulate
from math import inf
from time import time
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, values
from prometheus_client.metrics_core import HistogramMetricFamily

from web.json_logs import standard_output
from web.log_output import LogOutput, timestamp

FLUSH_SECONDS = 0.05
# Formatting a float takes four times as long as looking up its decimals.
_TWO_DIGITS: Final = [f"{number:02}" for number in range(100)]

# Unix time, request id, method, route, path, status, seconds. The path has its tokens masked; it
# and the method go into JSON as they are.
Note = tuple[float, str, str, str, str, int, float]


class BatchedHistogram:
    """A histogram that takes many values at once; prometheus-client's takes one at a time.

    Its values are the library's, so that those of several processes are added up. Calls of `add`
    must not overlap.
    """

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: tuple[str, ...],
        *,
        buckets: Sequence[float],
        registry: CollectorRegistry,
    ) -> None:
        self._name = name
        self._documentation = documentation
        self._labels = labels
        self._bounds = [*map(float, buckets), inf]
        self._bound_names = [*map(str, self._bounds[:-1]), "+Inf"]
        self._series: dict[tuple[str, ...], Series] = {}
        if not labels:  # like the library, which shows its zeros
            self._series[()] = self._new_series(())
        registry.register(self)

    def add(self, labels: tuple[str, ...], observed: list[float]) -> None:
        """Count what was observed with these labels; sorts it."""
        series = self._series.get(labels)
        if series is None:
            series = self._series[labels] = self._new_series(labels)
        observed.sort()
        counted = 0
        for bound, value in zip(self._bounds, series.counts, strict=True):
            up_to_bound = bisect_right(observed, bound)
            if up_to_bound > counted:
                value.inc(up_to_bound - counted)
                counted = up_to_bound
        series.sum.inc(sum(observed))

    def collect(self) -> list[HistogramMetricFamily]:
        """Return the histogram for an exposition."""
        family = HistogramMetricFamily(self._name, self._documentation, labels=self._labels)
        for labels, series in list(self._series.items()):
            counts = accumulate([value.get() for value in series.counts])
            family.add_metric(
                labels, list(zip(self._bound_names, counts, strict=True)), series.sum.get()
            )
            created = dict(zip(self._labels, labels, strict=True))
            family.add_sample(f"{self._name}_created", created, series.created)
        return [family]

    def _new_series(self, labels: tuple[str, ...]) -> "Series":
        def value(suffix: str, **more: str) -> Any:
            names, texts = (*self._labels, *more), (*labels, *more.values())
            name = self._name + suffix
            return values.ValueClass(
                "histogram", self._name, name, names, texts, self._documentation
            )

        counts = [value("_bucket", le=name) for name in self._bound_names]
        return Series(counts, value("_sum"))


class Series:
    """The values of a histogram for some labels: a count for each bucket, without those below."""

    def __init__(self, counts: list[Any], sum: Any) -> None:
        self.counts = counts
        self.sum = sum
        self.created = time()


class BatchedRequestLog:
    """Collects notes; `flush` writes their lines, by default to standard output, and counts them.

    `add_durations` is called with a method, a route and durations in seconds.
    """

    def __init__(
        self,
        service: str,
        requests: Counter,
        add_durations: Callable[[str, str, list[float]], None],
        *,
        shown: bool = True,
        output: LogOutput | None = None,
    ) -> None:
        self.shown = shown
        self.output = output or standard_output()
        self.notes: list[Note] = []
        self._service = service
        self._requests = requests
        self._add_durations = add_durations
        self._flushing = threading.Lock()

    def note(
        self, request_id: str, method: str, route: str, path: str, status: int, seconds: float
    ) -> None:
        """Record an answered request; `path` must be safe to log, and fit into a string of JSON."""
        self.notes.append((time(), request_id, method, route, path, status, seconds))
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
                self._add_durations(method, route, each_seconds)
            if self.shown and notes:
                self.output.write(render(self._service, notes).encode())


def render(service: str, notes: Sequence[Note]) -> str:
    lines = []
    last, stamp = 0, ""
    for moment, request_id, method, _, path, status, seconds in notes:
        milliseconds = int(moment * 1000)
        if milliseconds != last:  # whole batches are answered within one millisecond
            last, stamp = milliseconds, timestamp(milliseconds)
        hundredths = int(seconds * 100_000 + 0.5)
        lines.append(
            f'{{"time":"{stamp}","level":"info","service":"{service}","message":"request",'
            f'"request_id":"{request_id}","method":"{method}","path":"{path}",'
            f'"status":{status},'
            f'"duration_ms":{hundredths // 100}.{_TWO_DIGITS[hundredths % 100]}}}\n'
        )
    return "".join(lines)
