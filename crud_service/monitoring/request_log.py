"""This process's request log, flushed by a thread."""

import atexit
import threading
import time
from functools import cache

from django.conf import settings

from crud_service.monitoring.request_metrics import DURATION, REQUESTS
from web.batched_request_log import FLUSH_SECONDS, BatchedRequestLog
from web.log_output import LogOutput


class RequestLog(BatchedRequestLog):
    def __init__(self, *, shown: bool = True, output: LogOutput | None = None) -> None:
        super().__init__(
            "crud",
            REQUESTS,
            lambda method, route, seconds: DURATION.add((method, route), seconds),
            shown=shown,
            output=output,
        )
        self._is_noted = threading.Event()

    def start(self) -> None:
        """Start the flushing thread, and flush once more at exit."""
        threading.Thread(target=self._flush_forever, name="request-log", daemon=True).start()
        atexit.register(self.flush)

    def flush_soon(self) -> None:
        if not self._is_noted.is_set():
            self._is_noted.set()

    def _flush_forever(self) -> None:
        while True:
            self._is_noted.wait()
            time.sleep(FLUSH_SECONDS)
            self._is_noted.clear()
            self.flush()


@cache
def request_log() -> RequestLog:
    """Return the process's log of requests."""
    return RequestLog(shown=settings.LOG_LEVEL in {"DEBUG", "INFO"})
