"""Imports: what was exported is there again, line by line, or nothing of it is."""

import gzip
import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.core.management import CommandError, call_command

from tests.integration.crud_rows import Database, add_chats, add_messages
from tests.integration.transfer.carried import (
    TABLES,
    export,
    import_file,
    rows,
    without_token,
    write,
)
from tests.largest_message import LARGEST_MESSAGE

TIME = "2022-08-09T22:17:52.599Z"
ODD = '\u2028 "quoted" \\ \n\r\n\t 日本 🤦🏽‍♂️ e\u0301 \u202eabc \x01\x1f'
TIMES = {"created_at": TIME, "updated_at": TIME}
APPLICATION = {"type": "application", "name": "An import", "access_token": "x" * 24, **TIMES}
CHAT = {"type": "chat", "number": 1, "message_count": 1, **TIMES}
MESSAGE = {"type": "message", "number": 1, "body": "Hello", **TIMES}
END = {"type": "end", "chats": 1, "messages": 1}
WHOLE: list[dict[str, Any]] = [APPLICATION, CHAT, MESSAGE, END]


def hours_from_now(hours: int) -> str:
    return f"{datetime.now(UTC) + timedelta(hours=hours):%Y-%m-%dT%H:%M:%S}.000Z"


def as_lines(*lines: dict[str, Any]) -> list[bytes]:
    return [json.dumps(line).encode() for line in lines]


@pytest.fixture
def odd(database: Database, application: str) -> str:
    """An application with everything odd in it."""
    add_chats(database, application, 300)
    add_messages(database, application, 3, ODD, chat=1)
    add_messages(database, application, 20, "\x01" * 65_535 + "x", chat=2)
    add_messages(database, application, 4500, chat=7)
    add_messages(database, application, 1, chat=300)
    database.execute("DELETE FROM messages WHERE number BETWEEN 17 AND 23")  # set aside
    database.execute("UPDATE messages SET body = 'edited', version = 2 WHERE number = 3")
    database.execute(
        "UPDATE messages SET created_at = created_at - number * interval '1 day',"
        " updated_at = created_at + interval '1.234567 seconds'"
    )
    metadata = '{"big":12345678901234567890.10,"é":["\u2028",null,true]}'
    database.execute(
        "UPDATE messages SET sender = %s, metadata = %s, reply_to = 1 WHERE number %% 3 = 2",
        ("ann\n", metadata),
    )
    database.execute(
        "UPDATE chats SET name = 'a name', metadata = %s WHERE number = 7", (metadata,)
    )
    database.execute(
        "UPDATE chats SET message_count = (SELECT count(*) FROM messages WHERE chat_id = chats.id)"
    )
    return application


def test_what_was_exported_is_there_again(http: httpx.Client, odd: str, tmp_path: Path) -> None:
    exported = export(http, odd)
    imported = import_file(write(tmp_path / "export.ndjson", exported))
    assert imported != odd
    assert without_token(export(http, imported)) == without_token(exported)
    by_activity = "chats?sort=-last_message&include=last_message&limit=1000"
    times = [
        chat["last_message"]["created_at"]
        for chat in http.get(f"{imported}/{by_activity}").json()
        if chat["last_message"]
    ]
    assert len(times) == 4
    assert times == sorted(times, reverse=True)
    assert http.get(f"{imported}/chats/7/messages?limit=1").headers["X-Total-Count"] == "4493"


def test_the_largest_message_is_there_again(
    http: httpx.Client, database: Database, tmp_path: Path
) -> None:
    lines = as_lines(APPLICATION, CHAT, {**MESSAGE, **LARGEST_MESSAGE}, END)
    imported = import_file(write(tmp_path / "export.ndjson", lines))
    message = http.get(f"{imported}/chats/1/messages/1").json()
    assert {name: message[name] for name in LARGEST_MESSAGE} == LARGEST_MESSAGE


def test_the_rows_know_what_they_must(
    http: httpx.Client, database: Database, odd: str, tmp_path: Path
) -> None:
    import_file(write(tmp_path / "export.ndjson", export(http, odd)))
    wrong = database.execute(
        """
        SELECT c.application_id, c.number FROM chats c LEFT JOIN LATERAL (
            SELECT count(*) AS messages, coalesce(max(number), 0) AS highest,
                coalesce((array_agg(id ORDER BY number DESC))[1], 0) AS last
            FROM messages WHERE chat_id = c.id) m ON true
        WHERE c.application_id = (SELECT max(id) FROM applications) AND (
            c.message_count <> m.messages OR c.highest_number <> m.highest
            OR c.last_message_id <> m.last)
        """
    ).fetchall()
    assert wrong == []
    ((mine, waiting),) = database.execute(
        "SELECT (SELECT count(*) FROM messages), (SELECT count(DISTINCT message_id)"
        " FROM search_outbox JOIN messages ON messages.id = message_id)"
    ).fetchall()
    assert waiting == mine  # all of them will be searchable
    assert rows(database)["total"] == [(2,)]


def test_what_was_deleted_stays_deleted(
    http: httpx.Client, database: Database, application: str, tmp_path: Path
) -> None:
    add_chats(database, application, 2)
    add_messages(database, application, 3, chat=1)
    add_messages(database, application, 3, chat=2)
    assert http.delete(f"{application}/chats/1/messages/2").status_code == 204
    assert http.delete(f"{application}/chats/1/messages/3").status_code == 204
    assert http.delete(f"{application}/chats/2").status_code == 204
    exported = export(http, application)
    imported = import_file(write(tmp_path / "export.ndjson", exported))
    assert without_token(export(http, imported)) == without_token(exported)
    assert http.get(f"{imported}/chats").content == http.get(f"{application}/chats").content
    tombstone = http.get(f"{imported}/chats/1/messages/3").json()
    assert tombstone == http.get(f"{application}/chats/1/messages/3").json()
    put = http.put(f"{imported}/chats/1/messages/3", json={"body": "again"})
    assert (put.status_code, put.json()["code"]) == (409, "message_deleted")
    assert http.get(f"{imported}/chats/2/messages").status_code == 410


@pytest.mark.parametrize("source", ["-", "gzip"])
def test_it_reads_standard_input_and_gzip(
    clean_crud: dict[str, str], http: httpx.Client, tmp_path: Path, source: str
) -> None:
    content = b"\n".join(as_lines(*WHOLE))
    path = tmp_path / "export.gz"
    path.write_bytes(gzip.compress(content))
    command = [sys.executable, "-m", "crud_service.manage", "import_application"]
    done = subprocess.run(
        [*command, "-" if source == "-" else str(path)],
        input=content if source == "-" else b"",
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    imported = f"/applications/{done.stdout.decode().strip()}"
    assert http.get(f"{imported}/chats/1/messages").json() == [
        {name: value for name, value in MESSAGE.items() if name != "type"}
    ]


def changed(position: int, **values: Any) -> list[bytes]:
    lines = [dict(line) for line in WHOLE]
    lines[position] |= values
    return as_lines(*lines)


def lacking(position: int, name: str) -> list[bytes]:
    lines = [dict(line) for line in WHOLE]
    del lines[position][name]
    return as_lines(*lines)


BAD = {
    "cut short": (as_lines(*WHOLE[:3]), "the file is cut short"),
    "empty": ([], "the file is cut short"),
    "no JSON": ([*as_lines(*WHOLE[:2]), b"{"], "line 3: it is not valid JSON"),
    "NaN": ([*as_lines(*WHOLE[:2]), b'{"type": NaN}'], "line 3: it is not valid JSON"),
    "surrogate": ([b'{"type": "\\ud800"}'], "line 1: it is not valid JSON"),
    "no object": ([b"[]"], "line 1: it is not a JSON object"),
    "an empty line": ([*as_lines(*WHOLE[:2]), b""], "line 3: it is not valid JSON"),
    "too long": ([b" " * 2_000_000], "line 1: it is longer than"),
    "no type": (lacking(1, "type"), "line 2: its type is none of"),
    "another type": (changed(1, type=["chat"]), "line 2: its type is none of"),
    "no application": (as_lines(*WHOLE[1:]), "line 1: the first line"),
    "two applications": (as_lines(APPLICATION, *WHOLE), "line 2: the first line"),
    "a message without chat": (as_lines(APPLICATION, MESSAGE), "line 2: it is a message before"),
    "a chat twice": (as_lines(APPLICATION, CHAT, CHAT), "line 3: number 1 does not follow 1"),
    "a message twice": (as_lines(*WHOLE[:3], MESSAGE), "line 4: number 1 does not follow 1"),
    "number 0": (changed(2, number=0), "line 3: number: Must be"),
    "a number as text": (changed(1, number="1"), "line 2: number: Must be"),
    "true as number": (changed(1, number=True), "line 2: number: Must be"),
    "a huge number": (changed(1, number=2**52 + 1), "line 2: number: Must be"),
    "a blank name": (changed(0, name=" "), "line 1: name: Must not be blank."),
    "no body": (lacking(2, "body"), "line 3: body: is required"),
    "a long body": (changed(2, body="x" * 65_537), "line 3: body: Must have at most"),
    "U+0000": (changed(2, body="a\x00"), "line 3: body: Must not contain"),
    "an empty body": (changed(2, body=""), "line 3: body: Must not be blank."),
    "a deleted body": (changed(2, deleted_at=TIME), "line 3: body: Must be empty in a deleted"),
    "a deleted sender": (
        changed(2, body="", deleted_at=TIME, sender="Ann"),
        "line 3: 'sender' is not a known key",
    ),
    "a message of a deleted chat": (changed(1, deleted_at=TIME), "line 3: it is a message of a"),
    "no time": (changed(2, created_at="2022-08-09"), "line 3: created_at: Must be a time"),
    "31 June": (changed(2, created_at=TIME.replace("08-09", "06-31")), "line 3: created_at: "),
    "the end of time": (
        changed(2, updated_at="9999-12-31T23:59:59.999Z"),
        "line 3: updated_at: Must be at most a day from now.",
    ),
    "the day after tomorrow": (
        changed(0, created_at=hours_from_now(48)),
        "line 1: created_at: Must be at most a day from now.",
    ),
    "a blank sender": (changed(2, sender=""), "line 3: sender: Must not be blank."),
    "metadata as text": (changed(1, metadata="{}"), "line 2: metadata: Must be a JSON object."),
    "a reply to 0": (changed(2, reply_to=0), "line 3: reply_to: Must be"),
    "a reply to itself": (changed(2, reply_to=1), "line 3: reply_to: Must be"),
    "a reply to a later one": (changed(2, reply_to=2), "line 3: reply_to: Must be"),
    "an unknown key": (changed(2, colour="red"), "line 3: 'colour' is not a known key"),
    "a hostile key": (changed(2, **{"\x1b[2J" * 999: 1}), "line 3: '\\x1b[2J\\x1b["),
    "other counts": (changed(3, messages=2), "line 4: it counts 1 chats and 2 messages"),
    "more behind": (as_lines(*WHOLE, END), "line 5: it follows the line of type end"),
}


@pytest.mark.parametrize(("lines", "reason"), BAD.values(), ids=BAD)
def test_a_bad_line_is_named_and_nothing_stays(
    database: Database, tmp_path: Path, lines: list[bytes], reason: str
) -> None:
    with pytest.raises(CommandError) as refusal:
        import_file(write(tmp_path / "export.ndjson", lines))
    assert str(refusal.value).startswith(reason)
    assert str(refusal.value).endswith("; nothing was imported")
    assert len(str(refusal.value)) < 200
    assert rows(database) == {name: [(0,)] for name in (*TABLES, "total")}


def test_a_file_that_ends_within_a_line_is_said_to_be_cut_short(
    database: Database, tmp_path: Path
) -> None:
    path = tmp_path / "export.ndjson"
    path.write_bytes(b"\r\n".join(as_lines(*WHOLE[:3]))[:-5])
    with pytest.raises(CommandError, match="line 3: it is cut short, or not valid JSON in UTF-8;"):
        import_file(path)


def test_a_clock_that_is_ahead_is_tolerated(http: httpx.Client, tmp_path: Path) -> None:
    ahead = hours_from_now(23)
    lines = changed(2, created_at=ahead, updated_at=ahead)
    imported = import_file(write(tmp_path / "export.ndjson", lines))
    message = f"{imported}/chats/1/messages/1"
    assert http.get(message).json()["updated_at"] == ahead
    edited = http.put(message, json={"body": "edited"})
    assert edited.json()["updated_at"] == ahead.replace(".000Z", ".001Z")


def test_a_byte_order_mark_and_other_line_ends_do_no_harm(
    http: httpx.Client, tmp_path: Path
) -> None:
    path = tmp_path / "export.ndjson"
    path.write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(as_lines(*WHOLE)) + b"\r\n")
    assert http.get(f"{import_file(path)}/chats/1").json()["message_count"] == 1


def test_nothing_stays_of_many_pieces_either(
    http: httpx.Client, database: Database, odd: str, tmp_path: Path
) -> None:
    before = rows(database)
    lines = [*export(http, odd)[:-1], b"{}"]
    with pytest.raises(CommandError, match=f"line {len(lines)}: its type is none of"):
        import_file(write(tmp_path / "export.ndjson", lines))
    assert rows(database) == before


def test_nobody_sees_it_before_it_is_complete(
    http: httpx.Client, database: Database, odd: str, tmp_path: Path
) -> None:
    from crud_service.postgresql import IMPORTER
    from crud_service.stores.database import connect_as
    from crud_service.transfer.importing import import_application

    path = write(tmp_path / "export.ndjson", export(http, odd))
    seen = []

    def look(_: object) -> None:
        answer = http.get("/applications")
        seen.append((len(answer.json()), answer.headers["X-Total-Count"]))
        assert len(rows(database)["applications"]) == 1

    with connect_as(IMPORTER) as connection, path.open("rb") as file:
        import_application(connection, file, look, lambda messages: None)
    assert len(seen) > 2
    assert set(seen) == {(1, "1")}
    assert len(http.get("/applications").json()) == 2


def test_a_file_that_cannot_be_read_is_named(clean_crud: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"the file cannot be read: .*missing"):
        import_file(tmp_path / "missing")
    cut = tmp_path / "cut.gz"
    cut.write_bytes(gzip.compress(b"\n".join(as_lines(*WHOLE)))[:-20])
    with pytest.raises(CommandError, match="the file cannot be decompressed"):
        import_file(cut)


def test_it_says_how_far_it_is(
    odd: str,
    http: httpx.Client,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from crud_service.operators.management.commands.import_application import Command

    path = write(tmp_path / "export.ndjson", export(http, odd))
    call_command(Command(report_seconds=0.0), str(path), stdout=StringIO())
    *_, last = capsys.readouterr().err.splitlines()
    assert last == "100 %, 300 chats, 4,513 messages"


def test_it_says_how_much_it_has_removed_again(
    odd: str, http: httpx.Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from crud_service.operators.management.commands.import_application import Command

    path = write(tmp_path / "export.ndjson", [*export(http, odd)[:-1], b"{}"])
    with pytest.raises(CommandError, match="nothing was imported"):
        call_command(Command(report_seconds=0.0), str(path))
    *_, last = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"removing an unfinished import: [1-9],\d{3} messages", last)
