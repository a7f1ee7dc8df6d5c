"""The operators' site."""

import re
from typing import Any

import httpx
import pytest

from tests.integration.crud_rows import Database, add_chat_of, token_of

PASSWORD = "password of the tests"


def csrf(answer: httpx.Response) -> str:
    found = re.search(r'csrfmiddlewaretoken" value="([^"]+)"', answer.text)
    assert found
    return found[1]


@pytest.fixture
def operator(http: httpx.Client) -> httpx.Client:
    """A client that is logged in."""
    from crud_service.chat.management.commands.ensure_admin import ensure_admin

    ensure_admin(PASSWORD)
    token = csrf(http.get("/admin/login/"))
    fields = {"username": "admin", "password": PASSWORD, "csrfmiddlewaretoken": token}
    assert http.post("/admin/login/?next=/admin/", data=fields).headers["Location"] == "/admin/"
    return http


def change(operator: httpx.Client, path: str, fields: dict[str, Any]) -> httpx.Response:
    return operator.post(path, data={**fields, "csrfmiddlewaretoken": csrf(operator.get(path))})


def test_nobody_gets_in_without_a_password(http: httpx.Client) -> None:
    assert http.get("/admin/").headers["Location"].startswith("/admin/login/")
    assert http.get("/admin/chat/message/").status_code == 302
    assert http.get("/admin").headers["Location"] == "/admin/"


def test_a_form_without_its_token_is_refused(operator: httpx.Client) -> None:
    answer = operator.post("/admin/chat/setasideentry/", data={"action": "put_back"})
    assert answer.status_code == 403


def test_the_start_page_tells_the_state(operator: httpx.Client) -> None:
    page = operator.get("/admin/").text
    assert "0 accepted and not stored yet" in page
    assert "Age of the oldest change that is not searchable everywhere yet" in page


def test_everything_is_listed_and_nothing_can_be_added_or_deleted(
    operator: httpx.Client, database: Database, application: str
) -> None:
    add_chat_of(database, application, 2)
    for table in ("application", "chat", "message", "conflict", "setasideentry"):
        assert operator.get(f"/admin/chat/{table}/").status_code == 200
        assert operator.get(f"/admin/chat/{table}/add/").status_code == 403
    for table in ("application", "chat", "message"):
        assert operator.get(f"/admin/chat/{table}/1/change/").status_code == 200
        assert operator.get(f"/admin/chat/{table}/1/delete/").status_code == 403


@pytest.mark.parametrize(
    "term", ["{token}", "{token} 1", "{token}/1/2", "/applications/{token}/chats/1"]
)
def test_messages_are_found_by_the_parts_of_their_path(
    operator: httpx.Client, database: Database, application: str, term: str
) -> None:
    add_chat_of(database, application, 3, "findable")
    params = {"q": term.format(token=token_of(application))}
    page = operator.get("/admin/chat/message/", params=params).text
    assert page.count('class="field-shortened_body"') == (1 if term.endswith("2") else 3)


def test_a_search_for_no_path_finds_nothing(operator: httpx.Client, application: str) -> None:
    for term in ("abc x", "a b c d", "' OR 1=1"):
        page = operator.get("/admin/chat/application/", params={"q": term})
        assert page.status_code == 200
        assert "0 applications" in page.text


def test_a_body_edited_here_is_another_version_on_its_way_to_the_index(
    operator: httpx.Client, database: Database, application: str
) -> None:
    message = f"{add_chat_of(database, application, 1)}/messages/1"
    database.execute("TRUNCATE search_outbox")
    answer = change(operator, "/admin/chat/message/1/change/", {"body": "  two\r\nlines "})
    assert answer.status_code == 302
    assert operator.get(message).json()["body"] == "  two\nlines "
    row = database.execute(
        "SELECT version, (SELECT count(*) FROM search_outbox) FROM messages"
    ).fetchone()
    assert row == (2, 1)


def test_a_text_that_the_api_would_refuse_is_refused_here(
    operator: httpx.Client, database: Database, application: str
) -> None:
    add_chat_of(database, application, 1, "before")
    answer = change(operator, "/admin/chat/message/1/change/", {"body": "x" * 65_537})
    assert "Must have 65536 bytes" in answer.text
    assert change(operator, "/admin/chat/application/1/change/", {"name": "new"}).status_code == 302
    assert operator.get(application).json()["name"] == "new"


def test_an_entry_that_was_set_aside_can_be_put_back(
    operator: httpx.Client, database: Database, application: str
) -> None:
    payload = {
        "access_token": token_of(application),
        "chat_number": "1",
        "number": "1",
        "body": "put back",
        "request_id": "r",
    }
    database.execute(
        "INSERT INTO set_aside_entries"
        " (entry_id, access_token, chat_number, number, payload, reason)"
        " VALUES ('1700000000000-0', %s, 1, 1, %s::text::jsonb, 'unknown application')",
        (payload["access_token"], httpx.Request("POST", "/", json=payload).content.decode()),
    )
    fields = {"action": "put_back", "_selected_action": "1"}
    assert change(operator, "/admin/chat/setasideentry/", fields).status_code == 302
    assert operator.get(f"{application}/chats/1/messages/1").json()["body"] == "put back"
    assert database.execute("SELECT count(*) FROM set_aside_entries").fetchone() == (0,)
