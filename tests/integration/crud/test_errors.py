"""Paths, methods and errors: always a problem document, with and without a trailing slash."""

import httpx
import pytest

from tests.integration.crud_rows import Database, add_chat_of

TOKEN = "A" * 24
PROBLEM_KEYS = ["type", "title", "status", "detail", "instance", "code", "request_id"]


@pytest.fixture
def chat(database: Database, application: str) -> str:
    return add_chat_of(database, application, 1)


def check_problem(answer: httpx.Response, status: int, code: str) -> None:
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    document = answer.json()
    assert list(document)[:7] == PROBLEM_KEYS
    assert (document["status"], document["code"]) == (status, code)
    assert document["request_id"] == answer.headers["X-Request-ID"]


def test_every_path_works_with_a_slash_and_without_for_every_verb(
    http: httpx.Client, chat: str, application: str
) -> None:
    paths = ["/applications", application, f"{application}/chats", chat, f"{chat}/messages"]
    for path in [*paths, f"{chat}/messages/1", "/health/live", "/openapi.json", "/docs"]:
        for verb in ("GET", "HEAD"):
            assert http.request(verb, path).status_code == 200
            assert http.request(verb, f"{path}/").status_code == 200
    assert http.post("/applications/", json={"name": "x"}).status_code == 201
    assert http.put(f"{application}/", json={"name": "x"}).status_code == 200
    assert http.put(f"{chat}/messages/1/", json={"body": "x"}).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/nothing",
        "/applications//",
        f"/applications/{TOKEN[1:]}",
        f"/applications/{TOKEN}A",
        f"/applications/{TOKEN}/",
        f"/applications/{TOKEN}%0A",
        f"/applications/{TOKEN}/chats/0",
        f"/applications/{TOKEN}/chats/01",
        f"/applications/{TOKEN}/chats/+1",
        f"/applications/{TOKEN}/chats/-1",
        f"/applications/{TOKEN}/chats/1.0",
        f"/applications/{TOKEN}/chats/1_0",
        f"/applications/{TOKEN}/chats/9223372036854775808",
        f"/applications/{TOKEN}/chats/9223372036854775807",
        f"/applications/{TOKEN}/chats/1/messages/99999999999999999999",
        f"/applications/{TOKEN}/chats/1/messages/abc",
        f"/applications/{TOKEN}/chats/1//messages",
        "/static/../settings.py",
        "/static/nothing.js",
        "/%00",
    ],
)
def test_an_unrouted_path_is_404(http: httpx.Client, path: str) -> None:
    check_problem(http.get(path), 404, "not_found")


def test_a_part_of_a_static_file_is_the_whole_file(http: httpx.Client) -> None:
    whole = http.get("/static/docs.js")
    for part in ("bytes=0-1", "bytes=9999999-"):
        answer = http.get("/static/docs.js", headers={"Range": part})
        assert (answer.status_code, answer.content) == (200, whole.content)


def test_a_404_says_all_that_may_be_missing(http: httpx.Client, application: str) -> None:
    for parent in (f"/applications/{TOKEN}", application):
        chat = http.get(f"{parent}/chats/7").json()
        assert chat["detail"] == "There is no such application or chat."
        assert http.get(f"{parent}/chats/7/messages").json()["detail"] == chat["detail"]
        message = http.get(f"{parent}/chats/7/messages/1").json()
        assert message["detail"] == "There is no such application, chat or message."


@pytest.mark.parametrize(
    ("verb", "path", "allow"),
    [
        ("PUT", "/applications", "GET, HEAD, POST"),
        ("POST", f"/applications/{TOKEN}", "GET, HEAD, PUT, DELETE"),
        ("PATCH", f"/applications/{TOKEN}/", "GET, HEAD, PUT, DELETE"),
        ("POST", f"/applications/{TOKEN}/chats", "GET, HEAD"),
        ("PATCH", f"/applications/{TOKEN}/chats/1", "GET, HEAD, PUT, DELETE"),
        ("POST", f"/applications/{TOKEN}/chats/1/messages/", "GET, HEAD"),
        ("OPTIONS", f"/applications/{TOKEN}/chats/1/messages/1", "GET, HEAD, PUT, DELETE"),
        ("DELETE", f"/applications/{TOKEN}/chats/1/messages/search", "GET, HEAD"),
        ("BREW", "/health/live", "GET, HEAD"),
        ("TRACE", "/applications", "GET, HEAD, POST"),
    ],
)
def test_an_unsupported_verb_is_405_with_allow(
    http: httpx.Client, verb: str, path: str, allow: str
) -> None:
    answer = http.request(verb, path)
    check_problem(answer, 405, "method_not_allowed")
    assert answer.headers["Allow"] == allow


def test_an_unexpected_error_is_500_without_details(
    http: httpx.Client, database: Database, application: str
) -> None:
    database.execute("ALTER TABLE applications RENAME COLUMN name TO renamed")
    try:
        answer = http.get(application)
    finally:
        database.execute("ALTER TABLE applications RENAME COLUMN renamed TO name")
    check_problem(answer, 500, "internal_error")
    assert "renamed" not in answer.text
    assert "psycopg" not in answer.text


def test_a_request_id_is_kept_if_harmless(http: httpx.Client, chat: str) -> None:
    for path in (chat, "/nothing", "/applications?limit=0"):
        given = http.get(path, headers={"X-Request-ID": "mine-1"})
        assert given.headers["X-Request-ID"] == "mine-1"
        made = http.get(path, headers={"X-Request-ID": 'no "good"'})
        assert len(made.headers["X-Request-ID"]) >= 16


def test_every_answer_has_security_headers(http: httpx.Client, chat: str) -> None:
    for path in (chat, f"{chat}/messages", "/nothing", "/docs", "/admin/login/", "/static/docs.js"):
        headers = http.get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] in {"no-referrer", "same-origin"}
        assert headers["Server"] == "crud"
    assert "default-src 'self'" in http.get("/docs").headers["Content-Security-Policy"]
    assert "default-src 'self'" in http.get("/admin/login/").headers["Content-Security-Policy"]
