"""The request log: what a line contains, and when it is written."""

import json
import os
from pathlib import Path

import pytest

from crud_service.monitoring.request_log import RequestLog
from crud_service.monitoring.request_metrics import REGISTRY
from web.log_output import LogOutput
from web.server.request import known_method

ROUTE = "a route of the tests"


@pytest.fixture
def written(tmp_path: os.PathLike[str]) -> tuple[RequestLog, str]:
    path = os.path.join(tmp_path, "log")
    output = LogOutput(os.open(path, os.O_CREAT | os.O_WRONLY))
    return RequestLog(output=output), path


def lines(log: RequestLog, path: str) -> list[dict[str, object]]:
    assert log.output.drain()
    with open(path) as written:
        return [json.loads(line) for line in written]


def test_a_line_describes_request_and_response(written: tuple[RequestLog, str]) -> None:
    log, path = written
    log.note("id-1", "GET", ROUTE, "/applications/A000…", 200, 0.0123456)
    log.flush()
    (line,) = lines(log, path)
    assert list(line) == [
        *("time", "level", "service", "message"),
        *("request_id", "method", "path", "status", "duration_ms"),
    ]
    assert (line["request_id"], line["status"], line["duration_ms"]) == ("id-1", 200, 12.35)
    assert line["path"] == "/applications/A000…"


@pytest.mark.parametrize(
    ("seconds", "milliseconds"),
    [(0.0, "0.00"), (0.000004, "0.00"), (0.00007, "0.07"), (0.0019996, "2.00"), (12.3, "12300.00")],
)
def test_a_duration_has_two_decimals(
    written: tuple[RequestLog, str], seconds: float, milliseconds: str
) -> None:
    log, path = written
    log.note("id-1", "GET", ROUTE, "/", 200, seconds)
    log.flush()
    assert log.output.drain()
    assert Path(path).read_text().endswith(f',"duration_ms":{milliseconds}}}\n')


def test_nothing_is_written_twice_or_before_it_is_flushed(written: tuple[RequestLog, str]) -> None:
    log, path = written
    log.note("id-1", "GET", ROUTE, "/", 200, 0.1)
    assert lines(log, path) == []
    log.flush()
    log.flush()
    assert len(lines(log, path)) == 1


def test_requests_are_counted_when_their_lines_are_not_shown() -> None:
    log = RequestLog(shown=False)
    labels = {"method": "PUT", "route": ROUTE, "status": "204"}
    log.note("id-1", "PUT", ROUTE, "/", 204, 0.1)
    log.flush()
    assert REGISTRY.get_sample_value("chat_http_requests_total", labels) == 1


def test_a_log_reader_that_exited_fails_no_request() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    log = RequestLog(output=LogOutput(writing))
    log.note("id-1", "GET", ROUTE, "/", 200, 0.1)
    log.flush()
    assert log.output.drain()
    os.close(writing)


def test_a_made_up_method_is_not_a_series_of_its_own() -> None:
    assert known_method("PUT") == "PUT"
    assert known_method('BREW"') == "other"
