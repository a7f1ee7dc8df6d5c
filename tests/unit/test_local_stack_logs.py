"""How `make logs` reads what the parts write."""

import json
import time
from pathlib import Path

import pytest

from local_stack.failure import StackError
from local_stack.layout import Layout
from local_stack.log_lines import LogLine, read_line
from local_stack.log_reading import LogFile, chosen_parts, new_logs, read_count

REQUEST = {
    "time": "2026-11-27T07:44:02.495Z",
    "level": "info",
    "service": "numbering",
    "message": "request",
    "request_id": "673b",
    "method": "POST",
    "path": "/applications/gRFj…/chats",
    "status": 201,
    "duration_ms": 3.11,
}
ELASTICSEARCH = {
    "@timestamp": "2026-11-26T14:37:43.884Z",
    "log.level": " WARN",
    "message": "low disk",
    "log.logger": "org.elasticsearch.cluster.Disk",
    "error.stack_trace": "java.io.IOException\n\tat x",
}


def test_a_request_is_one_phrase() -> None:
    assert read_line(json.dumps(REQUEST)) == LogLine(
        "07:44:02.495",
        "info",
        "POST /applications/gRFj…/chats 201 in 3.11 ms  request_id=673b",
        "2026-11-27",
    )


def test_an_error_shows_its_fields_and_its_traceback() -> None:
    error = {**REQUEST, "message": "lost", "level": "error", "exception": "Traceback\n  File x"}
    line = read_line(json.dumps(error))
    assert line.level == "error"
    assert line.text == "lost  request_id=673b\nTraceback\n  File x"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            json.dumps(ELASTICSEARCH),
            ("14:37:43.884", "warning", "Disk: low disk\njava.io.IOException\n\tat x"),
        ),
        (
            '2026-11-26 14:37:37.545 UTC [5620] FATAL:  no "role"',
            ("14:37:37.545", "error", 'no "role"'),
        ),
        ("STATEMENT:  SELECT 1", ("", "", "STATEMENT:  SELECT 1")),
        ("{not json", ("", "", "{not json")),
        ('["json"]', ("", "", '["json"]')),
        ('{"message": "request"}', ("", "", "? ? ? in ? ms")),
    ],
)
def test_lines_of_others_are_read_or_kept(line: str, expected: tuple[str, str, str]) -> None:
    assert read_line(line)[:3] == expected


def test_the_time_of_valkey_is_that_of_the_other_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        line = read_line("5621:M 27 Nov 2026 08:37:37.527 # Memory overcommit")
    finally:
        monkeypatch.undo()
        time.tzset()
    assert line == LogLine("23:37:37.527", "warning", "Memory overcommit", "2026-11-26")


@pytest.mark.parametrize("control", ["\x1b]0;title\x07", "\x9b2J", "\r", "\u202e", "\x7f"])
def test_what_a_client_sent_does_not_control_the_terminal(control: str) -> None:
    for line in (json.dumps({**REQUEST, "message": control}), f"plain {control}"):
        assert not set(read_line(line).text) & set("\x1b\x07\x9b\r\u202e\x7f")


def test_only_complete_lines_are_read_and_a_new_file_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "crud.log"
    log = LogFile(path)
    assert list(log.history()) == []
    path.write_bytes(b"one\ntw")
    assert list(log.new_lines()) == ["one"]
    with path.open("ab") as handle:
        handle.write(b"o\n")
    assert list(log.new_lines()) == ["two"]
    path.rename(tmp_path / "crud.log.1")
    path.write_bytes(b"three, which is longer\n")
    assert list(log.new_lines()) == ["three, which is longer"]


def test_the_history_is_in_order_and_ends_where_following_begins(tmp_path: Path) -> None:
    path = tmp_path / "crud.log"
    path.write_text(json.dumps(REQUEST) + "\nTraceback\n")
    log = LogFile(path)
    (first, _, request), (second, _, trace) = log.history()
    assert (first, request.time) == (second, "07:44:02.495")
    assert trace.text == "Traceback"
    assert list(log.new_lines()) == []


def test_the_parts_to_follow_are_chosen_by_name(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.create()
    with pytest.raises(StackError, match="there are no logs"):
        chosen_parts(layout, {})
    (layout.logs / "crud.log").touch()
    assert "postgres" in chosen_parts(layout, {})
    assert chosen_parts(layout, {"PART": "worker, crud"}) == ["worker", "crud"]
    for name in ("valkey-2", "valkey-1"):
        (layout.logs / f"{name}.log").touch()
    assert {"valkey-1", "valkey-2", "crud"} < set(chosen_parts(layout, {}))
    assert chosen_parts(layout, {"PART": "valkey"}) == ["valkey", "valkey-1", "valkey-2"]
    assert chosen_parts(layout, {"PART": "valkey-2"}) == ["valkey-2"]


def test_a_part_that_is_started_later_is_followed_from_its_first_line(tmp_path: Path) -> None:
    layout, chosen = Layout(tmp_path), {"PART": "crud"}
    layout.create()
    (layout.logs / "postgres.log").touch()
    followed = new_logs([], layout, chosen)
    assert [log.name for log in followed] == ["crud"]
    (layout.logs / "crud-1.log").write_text("one\n")
    (later,) = new_logs(followed, layout, chosen)
    assert (later.name, list(later.new_lines())) == ("crud-1", ["one"])
    assert new_logs([*followed, later], layout, chosen) == []


@pytest.mark.parametrize("text", ["-1", "many", "²", "1" * 10])
def test_an_invalid_number_of_lines_is_named(text: str) -> None:
    with pytest.raises(StackError, match="is not a number of lines"):
        read_count({"N": text})
