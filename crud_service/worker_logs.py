"""The worker's log: one JSON object a line, access tokens masked."""

import logging
import sys
from datetime import UTC, datetime

import orjson

from contract.paths import mask_path

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "data"}
# Celery tells of every task's start and end; our own line on each batch says more.
_CHATTY = ("celery.worker.strategy", "celery.app.trace", "celery.worker.consumer.mingle")


class JsonFormatter(logging.Formatter):
    """A record with its extra fields as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": mask_path(record.getMessage()),
        }
        line |= {k: v for k, v in vars(record).items() if k not in _STANDARD}
        if record.exc_info:
            line["exception"] = mask_path(self.formatException(record.exc_info))
        return orjson.dumps(line, default=str).decode()


def configure_logs(level: int) -> None:
    """Send everything that is logged to stdout in that form."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
