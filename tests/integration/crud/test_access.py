"""Access: to the list of applications, to seeding, and with known secrets."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest

from contract.sequences import HIGHEST_NUMBER, sequence_path
from crud_service.bearer import bears
from tests.integration.breakable import Breakable
from tests.integration.crud_rows import Database, add_chat_of, add_chats, token_of

INTERNAL = {"Authorization": "Bearer internal-token-of-the-tests"}
WRONG = [
    {},
    {"Authorization": "Bearer wrong"},
    {"Authorization": "Bearer"},
    {"Authorization": "Basic right"},
    {"Authorization": "right"},
]


@pytest.fixture
def admin_token(http: httpx.Client) -> Iterator[str]:
    from django.test import override_settings

    with override_settings(ADMIN_TOKEN="right"):
        yield "right"


def set_aside(database: Database, application: str, chat: int | None, number: int) -> None:
    database.execute(
        "INSERT INTO set_aside_entries"
        " (entry_id, access_token, chat_number, number, payload, reason)"
        " VALUES (%s, %s, %s, %s, '{}', 'poison')",
        (f"{number}-{chat or 0}", token_of(application), chat, number),
    )


def highest(http: httpx.Client, application: str, chat: int | None) -> int:
    answer = http.get(sequence_path(token_of(application), chat), headers=INTERNAL)
    assert answer.status_code == 200, answer.text
    return int(answer.json()[HIGHEST_NUMBER])


@pytest.mark.parametrize("headers", WRONG)
def test_applications_need_the_admin_token_if_it_is_set(
    http: httpx.Client, admin_token: str, headers: dict[str, str]
) -> None:
    for verb in ("GET", "POST"):
        answer = http.request(verb, "/applications?name=x", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert http.head("/applications", headers=headers).status_code == 401
    assert http.get("/openapi.json").json()["paths"]["/applications"]["get"]["security"]


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/applications", "GET, HEAD, POST"), (f"/applications/{'x' * 24}/rotate", "POST")],
)
def test_an_unsupported_verb_is_405_without_the_admin_token_too(
    http: httpx.Client, admin_token: str, path: str, allowed: str
) -> None:
    for verb in ("PUT", "PATCH", "DELETE", "OPTIONS"):
        answer = http.request(verb, path)
        assert (answer.status_code, answer.headers.get("Allow")) == (405, allowed), verb


def test_a_token_may_have_any_characters() -> None:
    as_wsgi_has_it = "Bearer tök".encode().decode("latin-1")
    assert bears({"HTTP_AUTHORIZATION": as_wsgi_has_it}, "tök")
    assert not bears({"HTTP_AUTHORIZATION": "Bearer tok"}, "tök")
    assert not bears({"HTTP_AUTHORIZATION": "Bearer "}, ""), "a token that is not set"


def test_the_admin_token_grants_access(http: httpx.Client, admin_token: str) -> None:
    headers = {"Authorization": f"bearer {admin_token}"}
    created = http.post("/applications?name=x", headers=headers)
    assert created.status_code == 201
    assert len(http.get("/applications", headers=headers).json()) == 1
    # The access token is the key to the application itself.
    assert http.get(created.headers["Location"]).status_code == 200


def test_the_internal_token_gives_access_to_the_highest_number(
    http: httpx.Client, database: Database, application: str
) -> None:
    assert highest(http, application, None) == 0
    add_chat_of(database, application, 7)
    assert highest(http, application, None) == 1
    assert highest(http, application, 1) == 7
    database.execute("DELETE FROM messages WHERE number < 7")
    assert highest(http, application, 1) == 7


def test_numbers_that_could_not_be_stored_count_as_taken(
    http: httpx.Client, database: Database, application: str
) -> None:
    add_chats(database, application, 2)
    set_aside(database, application, None, 9)
    set_aside(database, application, 1, 5)
    assert highest(http, application, None) == 9
    assert highest(http, application, 1) == 5
    assert highest(http, application, 2) == 0


@pytest.mark.parametrize("headers", WRONG)
def test_seeding_is_closed_without_the_internal_token(
    http: httpx.Client, application: str, headers: dict[str, str]
) -> None:
    answer = http.get(sequence_path(token_of(application), None), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")


def test_the_seeding_endpoint_is_404_without_an_internal_token(
    http: httpx.Client, application: str
) -> None:
    from django.test import override_settings

    with override_settings(INTERNAL_TOKEN=""):
        path = sequence_path(token_of(application), None)
        for headers in (INTERNAL, {"Authorization": "Bearer "}, {}):
            assert http.get(path, headers=headers).status_code == 404


def test_seeding_what_is_not_there_is_404(http: httpx.Client, application: str) -> None:
    for path in (sequence_path("x" * 24, None), sequence_path(token_of(application), 1)):
        assert http.get(path, headers=INTERNAL).status_code == 404


def start(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *(command or ("crud_service",))],
        env={"PATH": os.environ["PATH"], "CRUD_PORT": "1", **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_container_does_not_start_with_missing_or_known_secrets() -> None:
    given = {"CONTAINER": "1", "INTERNAL_TOKEN": "local", "ADMIN_PASSWORD": "Secret 1"}
    refused = start(**given)
    assert refused.returncode == 1
    assert "SECRET_KEY" in refused.stderr
    assert "INTERNAL_TOKEN" in refused.stderr
    assert "ADMIN_PASSWORD" not in refused.stderr
    assert "Secret 1" not in refused.stderr


GOOD = {"SECRET_KEY": "s 1", "INTERNAL_TOKEN": "i 1", "ADMIN_PASSWORD": "a 1", "ADMIN_TOKEN": "t 1"}


@pytest.mark.parametrize(
    ("command", "name", "value"),
    [
        ("crud_service.worker", "ADMIN_PASSWORD", "local"),
        ("crud_service.manage migrate", "ADMIN_PASSWORD", "local"),
        ("crud_service.manage ensure_admin", "SECRET_KEY", "local"),
        ("crud_service", "ADMIN_TOKEN", "secret"),
        ("crud_service", "DATABASE_URL", "postgresql://chat:local@127.0.0.1:1/chat"),
    ],
)
def test_no_process_of_a_container_starts_with_a_known_secret(
    command: str, name: str, value: str
) -> None:
    given = {**GOOD, "DATABASE_URL": "postgresql://127.0.0.1:1/chat", name: value}
    refused = start(*command.split(), CONTAINER="1", **given)
    assert refused.returncode == 1
    assert f"{name} is" in refused.stderr.replace("is missing or", "is")
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize("name", ["DATABASE_URL", "DATABASE_READ_URL"])
@pytest.mark.parametrize(
    "url",
    [
        "postgresql//chat:secret@h/chat",
        "postgresql://chat:secret%E9@h/chat",  # Latin-1
        "postgresql://chat:secret\udce9@h/chat",
    ],
)
def test_an_address_that_cannot_be_read_is_named_without_its_password(name: str, url: str) -> None:
    refused = start(CONTAINER="1", **GOOD | {name: url})
    assert refused.returncode == 1
    message = f"crud_service refuses to start: {name} must be the URL of a database of PostgreSQL"
    assert refused.stderr.splitlines() == [message]


@pytest.mark.parametrize("name", ["DATABASE_URL", "DATABASE_READ_URL"])
@pytest.mark.parametrize("command", ["crud_service", "crud_service.manage migrate"])
def test_a_password_with_a_bare_at_sign_is_not_taken_for_the_host(command: str, name: str) -> None:
    given = {
        "DATABASE_URL": "postgresql://127.0.0.1:1/chat",
        name: "postgresql://u:a@secret@h/chat",
    }
    refused = start(*command.split(), **given)
    assert refused.returncode == 1
    reason = f"{name} must have %40 for an @ in its password"
    assert [line.partition(": ")[2] for line in refused.stderr.splitlines()] == [reason]


@pytest.mark.parametrize("name", ["DATABASE_URL", "DATABASE_READ_URL"])
@pytest.mark.parametrize(
    ("url", "is_known"),
    [
        ("postgresql://chat:local@127.0.0.1:1/chat", True),
        ("postgresql://127.0.0.1:1/chat?user=chat&password=Postgres", True),
        ("postgresql://chat:our-own@127.0.0.1:1/chat", False),
        ("postgresql://chat@127.0.0.1:1/chat", False),
    ],
)
def test_a_known_password_is_found_in_the_url_of_a_database(
    clean_crud: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    url: str,
    is_known: bool,
) -> None:
    from crud_service import settings, startup

    given = {**GOOD, "CONTAINER": True, "LOCAL_STACK": False, "DATABASE_URL": "", name: url}
    for setting, value in given.items():
        monkeypatch.setattr(settings, setting, value)
    expected = [f"the password in {name} is a default; set another one"] if is_known else []
    assert startup.weak_secrets() == expected


@pytest.mark.parametrize(
    ("name", "url", "more"),
    [
        (
            "REDIS_URL",
            "redis://127.0.0.1:1?socket_timeout=2",
            ": set BROKER_URL to one without options",
        ),
        ("BROKER_URL", "redis://127.0.0.1:1?socket_timeout=2", ""),
    ],
)
def test_the_worker_names_a_broker_that_celery_cannot_use(name: str, url: str, more: str) -> None:
    given = {"DATABASE_URL": "postgresql://127.0.0.1:1/chat", "REDIS_URL": "redis://127.0.0.1:1"}
    refused = start("crud_service.worker", **given | {name: url})
    assert refused.returncode == 1
    reason = f"worker refuses to start: {name} is no address that Celery can use{more}"
    assert refused.stderr.splitlines() == [reason]
    assert refused.stdout == ""


class Pooler(Breakable):
    """Ignores the settings that a client begins its session with, as PgBouncer can be told to."""

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        first = client.recv(65536)
        blank = re.sub(rb"(?<=\0options\0)[^\0]*", lambda found: b" " * len(found[0]), first)
        server.sendall(blank)
        super()._forward(client, server)


@pytest.mark.parametrize(
    ("name", "variable"),
    [
        ("crud_service", "DATABASE_URL"),
        ("crud_service", "DATABASE_READ_URL"),
        ("worker", "DATABASE_URL"),
    ],
)
def test_nothing_starts_behind_a_pooler_that_ignores_the_settings_of_a_session(
    clean_crud: dict[str, str], name: str, variable: str
) -> None:
    command = {"worker": "crud_service.worker"}.get(name, name)
    with Pooler(f"{clean_crud['DATABASE_URL']}?sslmode=disable") as pooler:
        refused = start(command, **clean_crud | {variable: pooler.url})
    assert refused.returncode == 1
    [line] = refused.stderr.splitlines()
    assert line.startswith(f"{name} refuses to start: {variable} leads to a pooler that ignores")


def test_a_local_stack_starts_with_default_secrets() -> None:
    started = start(CONTAINER="1", LOCAL_STACK="1", HOST="203.0.113.1")
    assert "cannot listen on" in started.stderr  # which comes after the look at the secrets


def test_no_process_starts_with_invalid_settings() -> None:
    refused = start(
        REPLICAS_TO_ACKNOWLEDGE="-1",
        MAX_STREAMS="many",
        LOG_LEVEL="loud",
        FAST_READS="off",
        REDIS_URL="rediss://127.0.0.1?ssl_cert_reqs=sometimes",
        BROKER_URL="127.0.0.1:6379",
        CRUD_PUBLIC_URL="chat.example.com",
        ELASTICSEARCH_URL="http://elasticsearch",
        INTERNAL_TOKEN="from a file\n",
        ADMIN_TOKEN=" spaced ",
        ADMIN_PASSWORD="from a file\n",
    )
    assert refused.returncode == 1
    refusal = "crud_service refuses to start: "
    assert [line.removeprefix(refusal) for line in refused.stderr.splitlines()] == [
        "CRUD_PUBLIC_URL must be an address such as http://host.example.com:3000",
        "REDIS_URL must be a redis:// or rediss:// URL that redis-py can use",
        "BROKER_URL must be a redis:// or rediss:// URL",
        "REPLICAS_TO_ACKNOWLEDGE must be a whole number, not '-1'",
        "INTERNAL_TOKEN must be one line, without a line break at its end",
        "ADMIN_TOKEN must have no spaces around it",
        "ADMIN_PASSWORD must be one line, without a line break at its end",
        "LOG_LEVEL must be debug, info, warning or error",
        "FAST_READS must be 0 or 1, not 'off'",
        "MAX_STREAMS must be a whole number, not 'many'",
        "ELASTICSEARCH_URL must have a port: its client knows none for http",
    ]
