"""One JSON line and one set of metrics for each request, at the price of an append.

A request only notes what happened; lines are written and metrics moved a few
times a second, many at once: at full speed a log call each would cost more
than the number does.
"""

import asyncio
import os
import sys
from datetime import UTC, datetime
from functools import cache
from time import perf_counter

from prometheus_client import Counter, Histogram

from contract.paths import mask_token
from numbering_service.metrics import REQUEST_SECONDS, REQUESTS
from numbering_service.requests import Target

FLUSH_SECONDS = 0.05
FLUSH_LINES = 2_000


class AccessLog:
    """Writes the request log to a file descriptor, standard output unless told otherwise."""

    def __init__(self, descriptor: int | None = None) -> None:
        self._descriptor = sys.stdout.fileno() if descriptor is None else descriptor
        self._lines: list[tuple[float, str, str, Target | str, int, float]] = []
        self._flushing: asyncio.TimerHandle | None = None
        self._offset = datetime.now(UTC).timestamp() - perf_counter()

    def request(self, request_id: str, target: Target, status: int, started: float) -> None:
        """Note a creation that was answered; `started` is by `perf_counter`."""
        self.note("POST", target, request_id, status, started)

    def note(
        self, method: str, target: Target | str, request_id: str, status: int, started: float
    ) -> None:
        """Note any request that was answered; a path must have its tokens masked already."""
        now = perf_counter()
        self._lines.append((now, method, request_id, target, status, now - started))
        if len(self._lines) >= FLUSH_LINES:
            self.flush()
        elif self._flushing is None:
            self._flushing = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)

    def flush(self) -> None:
        """Write what was noted."""
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        lines, self._lines = self._lines, []
        text = []
        for now, method, request_id, target, status, seconds in lines:
            route = target if isinstance(target, str) else route_of(target)
            counter(method, route, status).inc()
            timer(route).observe(seconds)
            moment = datetime.fromtimestamp(now + self._offset, UTC)
            text.append(
                f'{{"time":"{moment.isoformat("T", "milliseconds")[:-6]}Z",'
                f'"level":"info","service":"numbering","message":"request",'
                f'"request_id":"{request_id}","method":"{method}","path":"{path_of(target)}",'
                f'"status":{status},"duration_ms":{seconds * 1000:.2f}}}\n'
            )
        write_all(self._descriptor, "".join(text).encode())


@cache
def counter(method: str, route: str, status: int) -> Counter:
    """The counter of one kind of answer; finding it anew each time costs more than counting."""
    return REQUESTS.labels(method, route, str(status))


@cache
def timer(route: str) -> Histogram:
    """The histogram of one route."""
    return REQUEST_SECONDS.labels(route)


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of it; a reader of our log that has gone is no reason to fail a request."""
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except (BrokenPipeError, BlockingIOError):
            return


def route_of(target: Target) -> str:
    """The route of a creation, as the OpenAPI document names it."""
    if target.chat_number is None:
        return "/applications/{access_token}/chats"
    return "/applications/{access_token}/chats/{chat_number}/messages"


def path_of(target: Target | str) -> str:
    """The path of a request, fit for a log."""
    if isinstance(target, str):
        return target
    chats = f"/applications/{mask_token(target.access_token)}/chats"
    return chats if target.chat_number is None else f"{chats}/{target.chat_number}/messages"
