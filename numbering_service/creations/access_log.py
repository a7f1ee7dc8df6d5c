"""One JSON line and one set of metrics for each request, at the cost of a list append.

A request only records what happened; lines are written and metrics updated in
batches, a few times a second: at full load, a log call per request would cost
more than handing out the number.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from time import perf_counter

from prometheus_client import Histogram

from contract.paths import mask_token
from numbering_service.creations.requests import Target
from numbering_service.metrics import REQUEST_SECONDS, REQUESTS
from web.json_logs import standard_output, timestamp
from web.log_output import LogOutput

FLUSH_SECONDS = 0.05
FLUSH_LINES = 2_000


# Time of the answer, method, request id, target, status, duration in seconds.
Line = tuple[float, str, str, Target | str, int, float]


class AccessLog:
    """Writes the request log, by default to standard output."""

    def __init__(self, *, enabled: bool = True, output: LogOutput | None = None) -> None:
        self._enabled = enabled
        self.output = output or standard_output()
        self._lines: list[Line] = []
        self._flushing: asyncio.TimerHandle | None = None
        self._offset = datetime.now(UTC).timestamp() - perf_counter()

    def request(self, request_id: str, target: Target, status: int, started: float) -> None:
        """Record an answered creation; `started` is a `perf_counter` reading."""
        self.note("POST", target, request_id, status, started)

    def note(
        self, method: str, target: Target | str, request_id: str, status: int, started: float
    ) -> None:
        """Record any answered request; a path must already have its tokens masked."""
        now = perf_counter()
        self._lines.append((now, method, request_id, target, status, now - started))
        if len(self._lines) >= FLUSH_LINES:
            self.flush()
        elif self._flushing is None:
            self._flushing = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)

    def flush(self) -> None:
        """Write the recorded lines and update the metrics."""
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        lines, self._lines = self._lines, []
        count(lines)
        if self._enabled and lines:
            self.output.write(render(lines, self._offset).encode())


def count(lines: Sequence[Line]) -> None:
    """Update the metrics."""
    answers: Counter[tuple[str, str, int]] = Counter()
    for _, method, _, target, status, seconds in lines:
        answers[method, route_of(target), status] += 1
        timer(route_of(target)).observe(seconds)
    for (method, route, status), number in answers.items():
        REQUESTS.labels(method, route, str(status)).inc(number)


def render(lines: Sequence[Line], offset: float) -> str:
    """Render log lines; `offset` converts `perf_counter` readings to Unix time."""
    text = []
    last, stamp = 0, ""
    for now, method, request_id, target, status, seconds in lines:
        milliseconds = int((now + offset) * 1000)
        if milliseconds != last:  # Whole batches are answered within one millisecond.
            last, stamp = milliseconds, timestamp(milliseconds)
        text.append(
            f'{{"time":"{stamp}","level":"info","service":"numbering","message":"request",'
            f'"request_id":"{request_id}","method":"{method}","path":"{path_of(target)}",'
            f'"status":{status},"duration_ms":{seconds * 1000:.2f}}}\n'
        )
    return "".join(text)


@cache
def timer(route: str) -> Histogram:
    """Return the histogram of one route, cached: looking it up costs more than observing."""
    return REQUEST_SECONDS.labels(route)


def route_of(target: Target | str) -> str:
    """The route of a request, as the OpenAPI document names it."""
    if isinstance(target, str):
        return target
    if target.chat_number is None:
        return "/applications/{access_token}/chats"
    return "/applications/{access_token}/chats/{chat_number}/messages"


def path_of(target: Target | str) -> str:
    """The path of a request for the log, with its token masked."""
    if isinstance(target, str):
        return target
    chats = f"/applications/{mask_token(target.access_token)}/chats"
    return chats if target.chat_number is None else f"{chats}/{target.chat_number}/messages"
