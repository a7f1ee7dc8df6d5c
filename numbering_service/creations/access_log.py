"""The request log, flushed on the event loop."""

import asyncio
from time import perf_counter
from typing import Final

from numbering_service.creations.requests import Target
from numbering_service.metrics import BATCHES, REQUEST_SECONDS, REQUESTS
from web.batched_request_log import FLUSH_SECONDS, BatchedRequestLog
from web.server.request import Request

FLUSH_LINES: Final = 2_000


class AccessLog(BatchedRequestLog):
    def __init__(self, *, shown: bool = True) -> None:
        super().__init__(
            "numbering",
            REQUESTS,
            lambda _, route, seconds: REQUEST_SECONDS.add((route,), seconds),
            shown=shown,
        )
        self._timer_handle: asyncio.TimerHandle | None = None

    def creation(self, request: Request, target: Target, status: int) -> None:
        """Record an answered creation."""
        seconds = perf_counter() - request.started
        self.note(request.id, "POST", target.route, target.masked_path, status, seconds)

    def flush_soon(self) -> None:
        if len(self.notes) >= FLUSH_LINES:
            self.flush()
        elif self._timer_handle is None:
            self._timer_handle = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)

    def flush(self) -> None:
        if self._timer_handle is not None:
            self._timer_handle.cancel()
            self._timer_handle = None
        BATCHES.count()
        super().flush()
