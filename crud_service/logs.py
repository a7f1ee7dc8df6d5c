"""Logs: one line of JSON each, on standard output, with access tokens masked."""

import logging
import sys
from datetime import UTC, datetime
from typing import Any

import orjson

from contract.paths import mask_path

# What every record has; anything else was given by `extra` and belongs in the line.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "taskName",
    "request",  # Django's, whose text has the path in it, tokens and all
}


def timestamp(seconds: float) -> str:
    """A moment as the API writes them: UTC with milliseconds."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self.service = service

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": timestamp(record.created),
            "level": record.levelname.lower(),
            "service": self.service,
            "logger": record.name,
            "message": mask_path(record.getMessage()),
        }
        line |= {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if hasattr(record, "request"):
            line["request_id"] = getattr(record.request, "request_id", "")
        if record.exc_info:
            line["exception"] = mask_path(self.formatException(record.exc_info))
        # Django hands a whole request to its log, whose text holds the path.
        return orjson.dumps(line, default=lambda value: mask_path(str(value))).decode()


def configure(service: str, level: str) -> None:
    """Send every log of this process to standard output as JSON."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter(service))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # Django tells of every 4xx and 5xx; the request's own line does the same. What it
    # has to say of an error that no view caught comes with the exception.
    logging.getLogger("django.request").addFilter(lambda record: bool(record.exc_info))
