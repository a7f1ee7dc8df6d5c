"""The admin site."""

import html
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, LiteralString

import httpx
import pytest
from django.test import override_settings

from local_stack.stack import Stores
from tests.integration.conftest import CrudServer
from tests.integration.crud_rows import Database, add_chat_of, token_of
from tests.log_lines import whole_lines
from tests.polling import wait_until

PASSWORD = "password of the tests"
# Hashing a password is slow on purpose, and takes longer than most of these tests.
QUICK_HASHES = override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"])
CANCEL_WAITING: LiteralString = """
SELECT pg_cancel_backend(pid) FROM pg_locks JOIN pg_database ON pg_database.oid = database
WHERE NOT granted AND datname = current_database()
"""


def csrf(answer: httpx.Response) -> str:
    found = re.search(r'csrfmiddlewaretoken" value="([^"]+)"', answer.text)
    assert found
    return found[1]


@pytest.fixture
def operator(http: httpx.Client) -> Iterator[httpx.Client]:
    """A client that is logged in."""
    from crud_service.operators.management.commands.ensure_admin import ensure_admin

    with QUICK_HASHES:
        ensure_admin(PASSWORD, reset_password=True)
        token = csrf(http.get("/admin/login/"))
        fields = {"username": "admin", "password": PASSWORD, "csrfmiddlewaretoken": token}
        answer = http.post("/admin/login/?next=/admin/", data=fields)
        assert answer.headers.get("Location") == "/admin/", answer.text
        yield http


def form_of(page: httpx.Response) -> dict[str, str]:
    """Return the fields of a page's form as a browser would send them."""
    hidden = re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page.text)
    texts = re.findall(r'<textarea name="(\w+)"[^>]*>\r?\n?(.*?)</textarea>', page.text, re.DOTALL)
    fields = {name: html.unescape(value) for name, value in [*hidden, *texts]}
    return {name: re.sub("\r\n|\r|\n", "\r\n", value) for name, value in fields.items()}


def change(operator: httpx.Client, path: str, fields: dict[str, Any]) -> httpx.Response:
    return operator.post(path, data={**form_of(operator.get(path)), **fields})


def change_beside(
    operator: httpx.Client, database: Database, statement: LiteralString, path: str, fields: Any
) -> httpx.Response:
    """Send a form that is checked before a statement is committed, and has its change after it."""
    with ThreadPoolExecutor(1) as thread:
        with database.transaction():
            database.execute(statement)
            answering = thread.submit(change, operator, path, fields)
            wait_until(lambda: is_waited_for(database), 30)
        return answering.result()


def test_djangos_checks_find_nothing(http: httpx.Client) -> None:
    """Of the URLs and of the admin's pages, which no management command but `check` reads."""
    from django.core.checks import run_checks

    assert run_checks() == []


def test_nobody_can_log_in_without_a_password(http: httpx.Client) -> None:
    assert http.get("/admin/").headers["Location"].startswith("/admin/login/")
    assert http.get("/admin/chat/message/").status_code == 302
    assert http.get("/admin").headers["Location"] == "/admin/"


def test_a_session_key_that_postgresql_refuses_is_400(http: httpx.Client) -> None:
    cookie = {"Cookie": r'sessionid="\000abcdefgh"'}
    answer = http.get("/admin/", headers=cookie)
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_request")


def test_a_form_without_its_token_is_refused(operator: httpx.Client) -> None:
    answer = operator.post("/admin/chat/setasideentry/", data={"action": "requeue_selected"})
    assert answer.status_code == 403


def test_the_start_page_shows_the_state(operator: httpx.Client) -> None:
    page = operator.get("/admin/").text
    assert "0 accepted but not yet stored" in page
    assert "Age of the oldest change that is not searchable everywhere yet" in page


def test_everything_is_listed_and_nothing_can_be_added(
    operator: httpx.Client, database: Database, application: str
) -> None:
    add_chat_of(database, application, 2)
    for table in ("application", "chat", "message", "conflict", "setasideentry", "deletion"):
        page = operator.get(f"/admin/chat/{table}/")
        assert page.status_code == 200
        assert "delete_selected" not in page.text
        assert operator.get(f"/admin/chat/{table}/add/").status_code == 403
    for table in ("application", "chat", "message"):
        assert operator.get(f"/admin/chat/{table}/1/change/").status_code == 200


def test_many_applications_are_estimated_and_not_cut_off(
    operator: httpx.Client, database: Database
) -> None:
    create = "INSERT INTO applications (access_token, name) SELECT lpad(n::text, 24, 'x'), 'many' "
    database.execute(create + "FROM generate_series(1, 10050) AS n")
    database.execute("ANALYZE applications")
    assert "10050 applications" in operator.get("/admin/chat/application/").text
    assert "10050 applications" in operator.get("/admin/chat/application/?q=").text


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


def test_a_search_that_finds_more_than_it_shows_says_so(
    operator: httpx.Client, database: Database, application: str
) -> None:
    add_chat_of(database, application, 10_050, "one of many")
    params = {"q": f"{token_of(application)} 1"}
    page = operator.get("/admin/chat/message/", params=params).text
    assert "10000 messages" in page
    assert "A search shows the first 10,000 rows." in page


def test_a_search_term_that_is_not_a_path_finds_nothing(
    operator: httpx.Client, application: str
) -> None:
    for term in ("abc x", "a b c d", "' OR 1=1"):
        page = operator.get("/admin/chat/application/", params={"q": term})
        assert page.status_code == 200
        assert "0 applications" in page.text


@pytest.mark.parametrize("lookup", ["created_at__year=0", "id__range=1", "body__regex=x", "id=1"])
def test_lookups_in_the_query_string_are_refused(operator: httpx.Client, lookup: str) -> None:
    assert operator.get("/admin/chat/message/").status_code == 200
    answer = operator.get(f"/admin/chat/message/?{lookup}")
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_request")


def test_a_body_edited_here_becomes_a_new_version_and_is_indexed(
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
    assert "Must have at most 65536 bytes" in answer.text
    assert change(operator, "/admin/chat/application/1/change/", {"name": "new"}).status_code == 302
    assert operator.get(application).json()["name"] == "new"


@pytest.fixture
def reader(operator: httpx.Client) -> Iterator[httpx.Client]:
    """A client that may look at everything, and at nothing else."""
    from django.contrib.auth.models import Permission, User

    user = User.objects.get(username="admin")
    user.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    User.objects.update(is_superuser=False)
    yield operator
    user.user_permissions.clear()
    User.objects.update(is_superuser=True)


@pytest.mark.parametrize(
    ("table", "action"),
    [
        ("chat/setasideentry", "requeue_selected"),
        ("chat/application", "rotate_tokens"),
        ("search/failure", "retry"),
        ("search/unsentchange", "send_now"),
    ],
)
def test_who_may_only_look_can_run_no_action(
    operator: httpx.Client, reader: httpx.Client, database: Database, table: str, action: str
) -> None:
    from django.contrib.auth.models import Permission, User

    database.execute(
        "INSERT INTO set_aside_entries (entry_id, access_token, payload, reason)"
        " VALUES ('1700000000000-0', '', '{}', 'of a test')"
    )
    database.execute("INSERT INTO applications (access_token, name) VALUES ('T', 'a')")
    database.execute("INSERT INTO search_failures (message_id, reason) VALUES (1, 'of a test')")
    database.execute(
        "INSERT INTO search_queue (message_id, chat_id, number, changed_at) VALUES (1, 1, 1, now())"
    )
    page = reader.get(f"/admin/{table}/")
    assert page.status_code == 200
    assert f'value="{action}"' not in page.text
    codename = f"change_{table.partition('/')[2]}"
    User.objects.get().user_permissions.add(Permission.objects.get(codename=codename))
    assert f'value="{action}"' in operator.get(f"/admin/{table}/").text


def test_a_set_aside_entry_can_be_requeued(
    operator: httpx.Client, database: Database, application: str
) -> None:
    payload = {
        "access_token": token_of(application),
        "chat_number": "1",
        "number": "1",
        "body": "requeued",
        "request_id": "r",
    }
    database.execute(
        "INSERT INTO set_aside_entries"
        " (entry_id, access_token, chat_number, number, payload, reason)"
        " VALUES ('1700000000000-0', %s, 1, 1, %s::text::jsonb, 'unknown application')",
        (payload["access_token"], httpx.Request("POST", "/", json=payload).content.decode()),
    )
    fields = {"action": "requeue_selected", "_selected_action": "1"}
    assert change(operator, "/admin/chat/setasideentry/", fields).status_code == 302
    assert operator.get(f"{application}/chats/1/messages/1").json()["body"] == "requeued"
    assert database.execute("SELECT count(*) FROM set_aside_entries").fetchone() == (0,)


@pytest.mark.parametrize("table", ["chat", "message"])
def test_a_row_whose_application_is_erased_while_its_page_is_read_is_no_error(
    operator: httpx.Client, database: Database, application: str, table: str
) -> None:
    from django.db import connection

    add_chat_of(database, application, 1)

    def erase_behind(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        result = execute(sql, *rest)
        if f'FROM "{table}s"' in sql:
            for erased in ("messages", "chats", "applications"):
                database.execute(f"DELETE FROM {erased}")
        return result

    with connection.execute_wrapper(erase_behind):
        assert operator.get(f"/admin/chat/{table}/1/change/").status_code == 200
    assert operator.get(f"/admin/chat/{table}/1/change/").headers["Location"] == "/admin/"


MESSAGE = "/admin/chat/message/1/change/"


@pytest.mark.parametrize("table", ["message", "application"])
def test_a_newer_change_is_not_overwritten(
    operator: httpx.Client, database: Database, application: str, table: str
) -> None:
    message = f"{add_chat_of(database, application, 1, 'before')}/messages/1"
    path, field = (message, "body") if table == "message" else (application, "name")
    form = f"/admin/chat/{table}/1/change/"
    opened = form_of(operator.get(form))
    operator.put(path, json={field: "newer"})
    for _ in range(2):
        answer = operator.post(form, data={**opened, field: "older"})
        assert answer.status_code == 200
        assert "Someone else changed this while you were editing it" in answer.text
        assert ">\nolder</textarea>" in answer.text.replace("\r\n", "\n")
        assert operator.get(path).json()[field] == "newer"
        opened = form_of(answer)
    assert change(operator, form, {field: "newest"}).status_code == 302
    assert operator.get(path).json()[field] == "newest"


def test_a_change_after_the_check_of_the_form_is_not_overwritten_either(
    operator: httpx.Client,
    database: Database,
    application: str,
) -> None:
    message = f"{add_chat_of(database, application, 1, 'before')}/messages/1"
    newer = "UPDATE messages SET body = 'newer', updated_at = now()"
    answer = change_beside(operator, database, newer, MESSAGE, {"body": "older"})
    assert "Someone else changed this while you were editing it" in answer.text
    assert operator.get(message).json()["body"] == "newer"


def is_waited_for(database: Database) -> bool:
    """Return whether another connection waits for a lock of this one."""
    waiting = "SELECT pid FROM pg_stat_activity WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid))"
    return database.execute(waiting).fetchone() is not None


@pytest.mark.parametrize("body", ["a\r\nb", "\r\n a\nb\r\n\rc\r", "\n", "<b>\r\n&amp;\n"])
def test_unedited_line_ends_are_kept(
    operator: httpx.Client, database: Database, application: str, body: str
) -> None:
    message = f"{add_chat_of(database, application, 1, body + 'x')}/messages/1"
    before = operator.get(message)
    assert change(operator, MESSAGE, {}).status_code == 302
    assert operator.get(message).content == before.content
    edited = form_of(operator.get(MESSAGE))["body"] + "!"
    assert change(operator, MESSAGE, {"body": edited}).status_code == 302
    assert operator.get(message).json()["body"] == f"{body}x!"


def log_in(client: httpx.Client, url: str, **headers: str) -> httpx.Response:
    page = client.get(f"{url}/admin/login/")
    fields = {"username": "admin", "password": PASSWORD, "csrfmiddlewaretoken": csrf(page)}
    cookies = "; ".join(f"{name}={value}" for name, value in page.cookies.items())
    given = {"Host": "chat.example.com", "Cookie": cookies, **headers}
    return client.post(f"{url}/admin/login/?next=/admin/", data=fields, headers=given)


@pytest.mark.parametrize(
    ("public_url", "statuses"),
    [
        (
            "https://chat.example.com/",
            {"null": 403, "https://evil.example.com": 403, "https://chat.example.com": 302},
        ),
        ("https://chat.example.com:8443", {"https://chat.example.com:8443": 302}),
        ("https://Chat.Example.com:443/api", {"https://chat.example.com": 302}),
        ("", {"https://chat.example.com": 403, "http://chat.example.com": 302}),
    ],
)
def test_operators_log_in_behind_a_tls_proxy(
    crud_server: Callable[..., CrudServer],
    client: httpx.Client,
    public_url: str,
    statuses: dict[str, int],
) -> None:
    """Such a proxy passes on the browser's Host and Origin."""
    from crud_service.operators.management.commands.ensure_admin import ensure_admin

    ensure_admin(PASSWORD, reset_password=True)
    server = crud_server(CRUD_PUBLIC_URL=public_url)
    # A client that reaches the service directly can claim anything.
    forged = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.example.com"}
    secure = public_url.startswith("https://")
    for origin, status in statuses.items():
        answer = log_in(client, server.url, Origin=origin, **forged)
        assert answer.status_code == status, origin
        cookies = answer.headers.get_list("Set-Cookie")
        assert all(("Secure" in cookie) == secure for cookie in cookies)
        assert bool(cookies) == (status == 302)


def test_a_killed_migration_leaves_no_user_without_a_password(database: Database) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from crud_service.operators.management.commands.ensure_admin import ensure_admin

    database.execute("TRUNCATE auth_user CASCADE")
    with CaptureQueriesContext(connection) as executed:
        ensure_admin(PASSWORD)
    writes = [each["sql"] for each in executed if each["sql"].startswith(("INSERT", "UPDATE"))]
    assert len(writes) == 1
    rows = database.execute("SELECT is_staff, is_superuser, is_active FROM auth_user").fetchall()
    assert rows == [(True, True, True)]


@QUICK_HASHES
def test_a_password_changed_by_an_operator_is_kept(clean_crud: dict[str, str]) -> None:
    from django.contrib.auth import get_user_model
    from django.core.management import call_command

    from crud_service.operators.management.commands.ensure_admin import ensure_admin

    ensure_admin(PASSWORD, reset_password=True)
    user = get_user_model().objects.get(username="admin")
    user.set_password("changed in the admin")
    user.save()
    with override_settings(ADMIN_PASSWORD="of the environment"):
        call_command("migrate", verbosity=0)
        call_command("ensure_admin", verbosity=0)
        user.refresh_from_db()
        assert user.check_password("changed in the admin")
        call_command("ensure_admin", "--reset-password", verbosity=0)
        user.refresh_from_db()
        assert user.check_password("of the environment")


@pytest.mark.parametrize(
    ("table", "path", "code"),
    [
        ("message", "/chats/1/messages/1", 200),
        ("chat", "/chats/1/messages", 410),
        ("application", "", 404),
    ],
)
def test_a_message_a_chat_and_an_application_can_be_deleted_with_a_history_entry(
    operator: httpx.Client,
    database: Database,
    application: str,
    table: str,
    path: str,
    code: int,
) -> None:
    add_chat_of(database, application, 2)
    (row_id,) = database.execute(f"SELECT min(id) FROM {table}s").fetchone() or ()
    page = operator.get(f"/admin/chat/{table}/{row_id}/delete/")
    assert page.status_code == 200
    fields = {"csrfmiddlewaretoken": csrf(page), "post": "yes"}
    assert operator.post(f"/admin/chat/{table}/{row_id}/delete/", data=fields).status_code == 302
    answer = operator.get(f"{application}{path}")
    assert answer.status_code == code
    if table == "message":
        assert answer.json()["body"] == ""
    history = "SELECT action_flag FROM django_admin_log ORDER BY id DESC LIMIT 1"
    assert database.execute(history).fetchone() == (3,)
    again = operator.get(f"/admin/chat/{table}/{row_id}/delete/")
    assert again.status_code in {302, 403}
    assert operator.get(f"/admin/chat/{table}/").status_code == 200


def test_a_tombstone_cannot_be_corrected(
    operator: httpx.Client, database: Database, application: str
) -> None:
    path = add_chat_of(database, application, 1)
    page = operator.get("/admin/chat/message/1/change/")
    assert operator.delete(f"{path}/messages/1").status_code == 204
    fields = {**form_of(page), "body": "again"}
    assert operator.post("/admin/chat/message/1/change/", data=fields).status_code in {200, 403}
    assert operator.get(f"{path}/messages/1").json()["body"] == ""


def test_a_message_of_a_deleted_chat_can_be_neither_corrected_nor_deleted(
    operator: httpx.Client, database: Database, application: str
) -> None:
    path = add_chat_of(database, application, 1, "before")
    assert operator.delete(path).status_code == 204
    assert change(operator, MESSAGE, {"body": "after"}).status_code == 403
    assert operator.get("/admin/chat/message/1/delete/").status_code == 403


def test_an_application_deleted_after_the_check_of_the_form_was_not_changed(
    operator: httpx.Client, database: Database, application: str
) -> None:
    form = "/admin/chat/application/1/change/"
    deletion = "UPDATE applications SET access_token = '-1', deleted_at = now()"
    answer = change_beside(operator, database, deletion, form, {"name": "late"})
    assert answer.headers["Location"] == "/admin/"
    assert "Perhaps it was deleted?" in html.unescape(operator.get("/admin/").text)


def test_an_operator_rotates_a_token_and_the_history_says_so(
    operator: httpx.Client, application: str, database: Database
) -> None:
    ((row_id,),) = database.execute("SELECT id FROM applications").fetchall()
    page = "/admin/chat/application/"
    fields = {
        "action": "rotate_tokens",
        "_selected_action": str(row_id),
        "csrfmiddlewaretoken": csrf(operator.get(page)),
    }
    answer = operator.post(page, data=fields, follow_redirects=True)
    found = re.search(r"the new access token is ([A-Za-z0-9]{24})", answer.text)
    assert found, answer.text
    assert operator.get(application).status_code == 404
    assert operator.get(f"/applications/{found[1]}").status_code == 200
    former = token_of(application)
    history = operator.get(f"{page}{row_id}/history/").text
    assert f"Access token {former[:4]}… rotated to {found[1][:4]}…" in html.unescape(history)
    assert former not in history


def test_an_application_that_is_being_imported_is_not_shown(
    operator: httpx.Client, database: Database, application: str
) -> None:
    database.execute("INSERT INTO applications (access_token, name) VALUES ('~a', 'half of it')")
    page = operator.get("/admin/chat/application/").text
    assert "half of it" not in page
    assert "1 application" in page


@pytest.mark.parametrize("table", ["message", "chat"])
def test_nothing_of_an_application_that_is_being_imported_can_be_changed(
    operator: httpx.Client, database: Database, application: str, table: str
) -> None:
    add_chat_of(database, application, 2)
    (row_id,) = database.execute(f"SELECT min(id) FROM {table}s").fetchone() or ()
    # What imports have stored so far stays whole, or the outcome would be neither all nor nothing.
    database.execute("UPDATE applications SET access_token = '~a'")
    path = f"/admin/chat/{table}/{row_id}"
    page = operator.get(f"{path}/change/")
    assert page.status_code == 200
    assert "_save" not in page.text
    fields = {"csrfmiddlewaretoken": csrf(page), "post": "yes"}
    assert operator.post(f"{path}/delete/", data=fields).status_code == 403
    deleted = f"SELECT count(*) FROM {table}s WHERE deleted_at IS NOT NULL"
    assert database.execute(deleted).fetchone() == (0,)


def test_a_statement_that_postgresql_cancels_leaves_no_session_in_its_log(
    operator: httpx.Client, database: Database, stores: Stores
) -> None:
    log = stores.layout.logs / "postgres.log"
    session, before = operator.cookies["sessionid"], log.stat().st_size
    with ThreadPoolExecutor(1) as thread, database.transaction():
        database.execute("LOCK TABLE django_session IN ACCESS EXCLUSIVE MODE")
        answer = thread.submit(operator.get, "/admin/")
        wait_until(lambda: database.execute(CANCEL_WAITING).fetchall() == [(True,)], 30)
        assert answer.result(60).status_code == 503
    # The statement is the last line of what is said of it.
    wait_until(lambda: any("django_session" in it for it in whole_lines(log, before)), 30)
    assert session not in "".join(whole_lines(log, before))
