"""A line of a log is one JSON object, whatever is logged."""

import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from web.json_logs import JsonFormatter, OutputHandler
from web.log_output import LogOutput, timestamp

TOKEN = "a" * 24


def formatted(message: str, *arguments: object, **attributes: Any) -> dict[str, Any]:
    """Return what a record becomes."""
    record = logging.LogRecord("part", logging.ERROR, "", 0, message, arguments, None)
    vars(record).update(attributes)
    line: dict[str, Any] = json.loads(JsonFormatter("tests").format(record))
    return line


def test_a_line_of_a_request_has_its_id() -> None:
    line = formatted("failed", request=SimpleNamespace(request_id="r-1"))
    assert (line["message"], line["request_id"]) == ("failed", "r-1")


def test_an_exception_is_logged_without_access_tokens() -> None:
    try:
        raise ValueError(f"/applications/{TOKEN}/chats")
    except ValueError:
        line = formatted("failed", exc_info=sys.exc_info())
    assert "ValueError: /applications/aaaa…/chats" in line["exception"]
    assert TOKEN not in line["exception"]


def test_a_reason_is_logged_without_access_tokens() -> None:
    reason = "InvalidRoleSpecification: with args beginning with: 'limits' '{}' 'limiter:{}"
    line = formatted("failed", reason=reason.format(TOKEN, TOKEN[:10]))
    assert line["reason"] == reason.format("aaaa…", "aaaa…")
    assert formatted("failed", reason=f"a table _{TOKEN}_")["reason"] == "a table _aaaa…_"


def test_a_request_that_django_refuses_to_read_is_a_warning_without_a_traceback() -> None:
    try:
        raise ValueError
    except ValueError:
        line = formatted("bad host", name="django.security.DisallowedHost", exc_info=sys.exc_info())
    assert (line["level"], line["message"]) == ("warning", "bad host")
    assert "exception" not in line


def test_the_time_has_milliseconds() -> None:
    assert timestamp(1_660_083_472_599) == "2022-08-09T22:17:52.599Z"


@pytest.fixture
def logged(tmp_path: Path) -> Iterator[tuple[logging.Logger, LogOutput, Path]]:
    path = tmp_path / "log"
    logger = logging.Logger("tests")
    with path.open("wb") as log:
        output = LogOutput(log.fileno())
        handler = OutputHandler(output)
        handler.setFormatter(JsonFormatter("tests"))
        logger.addHandler(handler)
        yield logger, output, path


def test_a_record_that_cannot_be_formatted_costs_no_other_line(
    logged: tuple[logging.Logger, LogOutput, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    logger, output, path = logged
    logger.error("%d", "not a number")
    logger.error("the next")
    assert output.drain()
    assert [json.loads(line)["message"] for line in path.read_text().splitlines()] == ["the next"]
    assert "not a number" in capsys.readouterr().err
