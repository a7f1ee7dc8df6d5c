"""Logs of every process: one JSON object a line on standard output, access tokens masked."""

import json
import logging
import sys
from collections.abc import Callable

from contract.paths import mask_path, mask_reason
from web.log_output import LogOutput, timestamp

# Attributes of every record; any other came from `extra` and belongs in the line.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "taskName",
    "color_message",  # uvicorn's
    "request",  # Django's, whose text has the path in it, tokens and all
}
# Django's loggers of requests that it refuses to read. Anybody can send one: it is no error of
# ours, and a traceback says no more than the message.
_REFUSALS = "django.security."


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON, with everything passed as `extra`."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self.service = service

    def format(self, record: logging.LogRecord) -> str:
        is_refusal = record.name.startswith(_REFUSALS)
        line: dict[str, object] = {
            "time": timestamp(int(record.created * 1000)),
            "level": "warning" if is_refusal else record.levelname.lower(),
            "service": self.service,
            "logger": record.name,
            "message": mask_path(record.getMessage()),
        }
        line |= {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if isinstance(reason := line.get("reason"), str):
            line["reason"] = mask_reason(reason)
        if hasattr(record, "request"):
            line["request_id"] = getattr(record.request, "request_id", "")
        if record.exc_info and not is_refusal:
            line["exception"] = mask_path(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False, default=lambda value: mask_path(str(value)))


class OutputHandler(logging.Handler):
    def __init__(self, output: LogOutput) -> None:
        super().__init__()
        self._output = output

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception:
            self.handleError(record)
            return
        self._output.write(f"{line}\n".encode(errors="backslashreplace"))


def configure(
    service: str, level: str, on_drop: Callable[[int], object] = lambda _: None
) -> LogOutput:
    """Send every log of this process to standard output as JSON.

    Args:
        service: its name in each line.
        level: the lowest level that is logged, by name.
        on_drop: called with the number of lines that could not be written.

    Returns:
        That output.
    """
    output = LogOutput(sys.stdout.fileno(), service, on_drop)
    _standard_output[:] = [output]
    handler = OutputHandler(output)
    handler.setFormatter(JsonFormatter(service))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Django logs every 4xx and 5xx, as the request's own line already does. Its records
    # of uncaught errors, which carry the exception, are kept.
    logging.getLogger("django.request").addFilter(lambda record: bool(record.exc_info))
    # A line for each of our own calls to crud_service or Elasticsearch adds nothing.
    for chatty in ("httpx", "elastic_transport.transport"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    return output


_standard_output: list[LogOutput] = []


def standard_output() -> LogOutput:
    """Return the process's output of log lines to stdout, always the same one."""
    if not _standard_output:
        _standard_output.append(LogOutput(sys.stdout.fileno()))
    return _standard_output[0]
