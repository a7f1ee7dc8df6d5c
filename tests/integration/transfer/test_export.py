"""Exports: every row of an application as a line, in the shape that the API gives it."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from local_stack.ports import PLAIN_HTTP
from tests.integration.conftest import BetweenCalls, CrudServer
from tests.integration.crud_rows import Database, add_chats, add_messages

ODD = '\u2028 "quoted" \\ \n\r\n\t 日本 🤦🏽‍♂️ e\u0301 \u202eabc \x01'


def lines_of(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    *lines, rest = answer.content.split(b"\n")
    assert rest == b""
    return [json.loads(line) for line in lines]


def without_type(line: dict[str, Any], kind: str) -> dict[str, Any]:
    assert next(iter(line.items())) == ("type", kind)
    return {name: value for name, value in line.items() if name != "type"}


@pytest.fixture
def full(database: Database, application: str) -> str:
    """An application with an empty chat between two others; the last is longer than a chunk."""
    add_chats(database, application, 3)
    add_messages(database, application, 2, ODD, chat=1)
    add_messages(database, application, 2500, chat=3)
    return application


def test_it_is_the_application_then_each_chat_with_its_messages(
    http: httpx.Client, full: str
) -> None:
    first, *lines, end = lines_of(http.get(f"{full}/export"))
    assert without_type(first, "application") == http.get(full).json()
    assert end == {"type": "end", "chats": 3, "messages": 2502}
    chats = http.get(f"{full}/chats").json()
    for chat in chats:
        assert without_type(lines.pop(0), "chat") == chat
        for message in http.get(f"{full}/chats/{chat['number']}/messages").json():
            assert without_type(lines.pop(0), "message") == message
    assert lines == []


def test_an_application_without_chats_has_two_lines(http: httpx.Client, application: str) -> None:
    first, end = lines_of(http.get(f"{application}/export"))
    assert (first["type"], first["chat_count"]) == ("application", 0)
    assert end == {"type": "end", "chats": 0, "messages": 0}


def test_rows_of_other_applications_are_not_in_it(
    http: httpx.Client, database: Database, full: str
) -> None:
    other = http.post("/applications", json={"name": "Another"}).json()["access_token"]
    assert len(lines_of(http.get(f"/applications/{other}/export"))) == 2


def test_many_short_chats_are_all_there(
    http: httpx.Client, database: Database, application: str
) -> None:
    add_chats(database, application, 450)
    add_messages(database, application, 1, "the last", chat=450)
    *_, last_chat, message, end = lines_of(http.get(f"{application}/export"))
    assert (last_chat["number"], message["body"]) == (450, "the last")
    assert end == {"type": "end", "chats": 450, "messages": 1}


def test_what_is_created_meanwhile_is_left_out_and_the_counts_say_so(
    http: httpx.Client, database: Database, full: str
) -> None:
    from crud_service.transfer.export import export_application

    pieces = export_application(full.rpartition("/")[2])
    assert pieces is not None
    exported = next(pieces)
    database.execute("UPDATE chats SET highest_number = highest_number + 1")
    database.execute(
        "INSERT INTO messages (chat_id, number, body) SELECT id, highest_number, 'late' FROM chats"
    )
    database.execute(
        "INSERT INTO chats (application_id, number) SELECT id, 4 FROM applications LIMIT 1"
    )
    lines = [json.loads(line) for line in (exported + b"".join(pieces)).splitlines()]
    assert "late" not in [line.get("body") for line in lines]
    kinds = [line["type"] for line in lines]
    assert lines[-1]["messages"] == kinds.count("message") == 2502
    assert lines[-1]["chats"] == kinds.count("chat") == 3


def test_an_unknown_application_is_404(http: httpx.Client) -> None:
    answer = http.get(f"/applications/{'x' * 24}/export/")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("step", ["fetch_chats", "fetch_messages"])
def test_an_application_that_disappears_before_anything_is_sent_is_404(
    http: httpx.Client, database: Database, full: str, between_calls: BetweenCalls, step: str
) -> None:
    from crud_service.transfer import export

    def rotate() -> None:
        database.execute("UPDATE applications SET access_token = %s", ("y" * 24,))

    between_calls(export, step, happen=rotate)
    answer = http.get(f"{full}/export").json()
    assert (answer["code"], answer["detail"]) == ("not_found", "There is no such application.")


def test_other_methods_are_refused(http: httpx.Client, application: str) -> None:
    assert http.head(f"{application}/export").status_code == 200
    answer = http.post(f"{application}/export")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD")


def test_an_application_that_disappears_cuts_the_export_short(
    crud_server: Callable[..., CrudServer], database: Database, full: str
) -> None:
    database.execute("UPDATE messages SET body = repeat('x', 60000) WHERE number > 500")
    url = f"{crud_server().url}{full}/export"
    with httpx.stream("GET", url, timeout=60, **PLAIN_HTTP) as answer:
        received = answer.iter_raw()
        read = [next(received)]
        database.execute("UPDATE applications SET access_token = %s", ("y" * 24,))
        with pytest.raises(httpx.RemoteProtocolError):
            read.extend(received)
    assert b'"type":"end"' not in read[-1]


def test_one_application_cannot_take_all_places(
    crud_server: Callable[..., CrudServer], database: Database, full: str
) -> None:
    database.execute("UPDATE messages SET body = repeat('x', 60000) WHERE number > 500")
    url = f"{crud_server().url}{full}/export"
    with httpx.Client(**PLAIN_HTTP, timeout=30) as client:
        unread = [client.send(client.build_request("GET", url), stream=True) for _ in range(10)]
        assert [answer.status_code for answer in unread] == [200] * 10
        refused = client.get(url)
        assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
        other = client.get(url.removesuffix("/export"))
        assert other.status_code == 200
        for answer in unread:
            answer.close()
