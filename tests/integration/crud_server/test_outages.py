"""Without PostgreSQL: a quick 503, and recovery without intervention; a Redis without writes."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import LiteralString

import httpx
import psycopg
import pytest

from crud_service.interval import Interval
from tests.integration.breakable import Breakable
from tests.integration.conftest import CrudServer, crud_servers
from tests.integration.crud_rows import Database, add_chat_of
from tests.integration.numbering.surroundings import Valkey
from tests.polling import eventually, wait_until


@pytest.fixture(scope="module")
def shared_postgres(crud: dict[str, str]) -> Iterator[Breakable]:
    with Breakable(crud["DATABASE_URL"]) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def running_server(crud: dict[str, str], shared_postgres: Breakable) -> Iterator[CrudServer]:
    with crud_servers(crud) as start:
        yield start(DATABASE_URL=shared_postgres.url)


@pytest.fixture
def postgres(shared_postgres: Breakable) -> Breakable:
    """The proxy between the server and PostgreSQL; every test mends what it broke."""
    return shared_postgres


@pytest.fixture
def server(running_server: CrudServer, clean_crud: dict[str, str]) -> CrudServer:
    return running_server


@pytest.fixture
def message(database: Database, application: str) -> str:
    return f"{add_chat_of(database, application, 1)}/messages/1"


def requests_of_all_kinds(url: str, message: str) -> list[tuple[str, str, dict[str, str] | None]]:
    chat, application = message.rsplit("/", 2)[0], "/".join(message.split("/")[:3])
    return [
        ("GET", f"{url}{message}", None),
        ("GET", f"{url}{chat}/messages", None),
        ("GET", f"{url}{chat}/messages?limit=1", None),
        ("GET", f"{url}{application}", None),
        ("GET", f"{url}/applications", None),
        ("PUT", f"{url}{message}", {"body": "changed"}),
        ("POST", f"{url}/applications", {"name": "x"}),
    ]


def test_without_postgresql_reads_are_a_quick_503_and_recovery_is_immediate(
    server: CrudServer, postgres: Breakable, client: httpx.Client, message: str
) -> None:
    kinds = requests_of_all_kinds(server.url, message)
    for method, url, fields in kinds:
        assert client.request(method, url, json=fields).is_success
    postgres.cut()
    for method, url, fields in kinds:
        started = time.monotonic()
        answer = client.request(method, url, json=fields)
        assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
        assert answer.headers["Retry-After"] == "1"
        assert time.monotonic() - started < 10  # and not after a time-out of the client
    assert client.get(f"{server.url}/health/ready").status_code == 503
    assert client.get(f"{server.url}/health/live").status_code == 200
    postgres.mend()
    for method, url, fields in kinds:
        assert client.request(method, url, json=fields).is_success


def test_without_postgresql_a_change_says_that_nothing_was_changed(
    server: CrudServer, postgres: Breakable, client: httpx.Client, message: str
) -> None:
    chat, application = message.rsplit("/", 2)[0], "/".join(message.split("/")[:3])
    postgres.cut()
    for method, path in (
        ("PUT", chat),
        ("DELETE", message),
        ("DELETE", chat),
        ("DELETE", application),
        ("POST", f"{application}/rotate"),
    ):
        answer = client.request(
            method,
            f"{server.url}{path}",
            json={"name": "changed"},
            headers={"Idempotency-Key": "once"},
        )
        assert answer.status_code == 503
        assert "nothing was changed" in answer.json()["detail"], (method, path)
    postgres.mend()
    assert client.get(f"{server.url}{message}").json()["body"]


def test_connections_that_died_unnoticed_cost_no_client_an_error(
    server: CrudServer, postgres: Breakable, client: httpx.Client, message: str
) -> None:
    kinds = requests_of_all_kinds(server.url, message)
    for method, url, fields in kinds:
        postgres.cut()
        postgres.mend()
        assert client.request(method, url, json=fields).is_success


def test_a_frozen_postgresql_holds_no_thread_for_long(
    server: CrudServer, postgres: Breakable, client: httpx.Client, message: str
) -> None:
    assert client.get(f"{server.url}{message}").status_code == 200
    postgres.frozen = True
    started = time.monotonic()
    page = f"{server.url}{message.rpartition('/')[0]}?limit=1"
    with ThreadPoolExecutor(16) as clients:
        answers = list(clients.map(client.get, [f"{server.url}{message}", page] * 8))
        assert time.monotonic() - started < 20
    assert {answer.status_code for answer in answers} == {503}
    postgres.frozen = False
    # There is a pause after a connection attempt that timed out.
    wait_until(lambda: client.get(f"{server.url}{message}").status_code == 200, 30)


def test_liveness_holds_while_postgresql_is_frozen(
    server: CrudServer, postgres: Breakable, client: httpx.Client, message: str
) -> None:
    page = f"{server.url}{message.rpartition('/')[0]}?limit=1"

    def is_answered_while_others_wait() -> bool:
        wait_until(lambda: client.get(page).status_code == 200, 30)
        postgres.frozen = True
        with ThreadPoolExecutor(16) as clients:
            waiting = [clients.submit(client.get, page) for _ in range(16)]
            time.sleep(0.3)
            started = time.monotonic()
            assert client.get(f"{server.url}/health/live").json() == {"status": "ok"}
            seconds = time.monotonic() - started
            is_any_waiting = not all(each.done() for each in waiting)
            postgres.frozen = False
        return seconds < 2 and is_any_waiting

    # None of them waits any more if the machine stands still for some seconds.
    assert eventually(is_answered_while_others_wait, bool, 30)


def test_a_read_only_redis_is_not_ready(
    crud_server: Callable[..., CrudServer], valkey: Valkey, client: httpx.Client
) -> None:
    server = crud_server(REDIS_URL=valkey.url)
    ready = f"{server.url}/health/ready"
    assert client.get(ready).status_code == 200
    valkey.client.replicaof("127.0.0.1", "1")
    answer = client.get(ready)
    assert answer.status_code == 503
    assert answer.json()["dependencies"]["redis"]["status"] == "unavailable"
    valkey.client.replicaof("NO", "ONE")
    assert client.get(ready).status_code == 200


@pytest.mark.parametrize(
    ("policy", "is_named"), [("allkeys-lru", True), ("volatile-lru", True), ("noeviction", False)]
)
def test_a_redis_that_evicts_keys_is_named_at_the_start(
    crud_server: Callable[..., CrudServer], valkey: Valkey, policy: str, is_named: bool
) -> None:
    valkey.client.config_set("maxmemory-policy", policy)
    server = crud_server(REDIS_URL=valkey.url)
    assert (f'"maxmemory_policy": "{policy}"' in server.output()) is is_named
    valkey.client.config_set("maxmemory-policy", "noeviction")


@pytest.mark.parametrize(("setting", "is_named"), [("off", True), ("local", False)])
def test_commits_that_a_crash_loses_are_named_at_the_start(
    crud_server: Callable[..., CrudServer],
    database: Database,
    setting: LiteralString,
    is_named: bool,
) -> None:
    with by_default(database, f"synchronous_commit = {setting}"):
        assert ("synchronous_commit" in crud_server().output()) is is_named


def test_a_primary_that_became_a_standby_is_503_and_is_left(
    http: httpx.Client, application: str
) -> None:
    from crud_service.stores import database

    database.close_idle()
    demoted = [database.connect() for _ in range(2)]  # one is used, the other waits
    for connection in demoted:
        database.use(connection, lambda it: it.execute("SET default_transaction_read_only = on"))
    refused = http.put(application, json={"name": "new"})
    assert (refused.status_code, refused.json()["code"]) == (503, "store_unavailable")
    assert "nothing was changed" in refused.json()["detail"]
    assert http.put(application, json={"name": "new"}).status_code == 200


@pytest.mark.parametrize("lack", ["search_path = pg_catalog", "ROLE pg_monitor"])
def test_a_session_without_our_tables_is_replaced(
    http: httpx.Client, application: str, lack: LiteralString
) -> None:
    """As one that began while its role had another `search_path`, or no privileges."""
    from crud_service.stores import database

    def spoil_sessions() -> None:
        database.close_idle()
        for connection in [database.connect() for _ in range(2)]:
            database.use(connection, lambda it: it.execute(f"SET {lack}"))

    for _ in range(2):
        spoil_sessions()
        assert http.put(application, json={"name": "new"}).status_code == 200
        spoil_sessions()
        assert http.get("/applications").status_code == 200


def test_sessions_that_all_lack_our_tables_are_503(
    http: httpx.Client, database: Database, application: str
) -> None:
    with by_default(database, "search_path = pg_catalog"):
        refused = http.put(application, json={"name": "new"})
        assert (refused.status_code, refused.json()["code"]) == (503, "store_unavailable")
        assert "nothing was changed" in refused.json()["detail"]
        assert http.get("/applications").status_code == 503
    assert http.put(application, json={"name": "new"}).status_code == 200


@contextmanager
def by_default(database: Database, setting: str) -> Iterator[None]:
    """A setting that all new sessions of the database begin with, and no others."""
    from crud_service.stores.database import close_idle

    name = psycopg.sql.Identifier(database.info.dbname)
    alter = psycopg.sql.SQL("ALTER DATABASE {} {}")
    close_idle()
    database.execute(alter.format(name, psycopg.sql.SQL(f"SET {setting}")))
    try:
        yield
    finally:
        close_idle()
        database.execute(alter.format(name, psycopg.sql.SQL("RESET ALL")))


def test_a_read_only_postgresql_is_503_for_each_change_and_the_log_says_why(
    http: httpx.Client,
    database: Database,
    application: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from crud_service.stores import database as stores_database

    monkeypatch.setattr(stores_database, "failures", Interval(10))
    chat = add_chat_of(database, application, 1)
    changes = [
        ("POST", "/applications"),
        ("PUT", application),
        ("PUT", chat),
        ("DELETE", f"{chat}/messages/1"),
        ("DELETE", chat),
        ("DELETE", application),
    ]
    with by_default(database, "default_transaction_read_only = on"):
        for method, path in changes:
            answer = http.request(method, path, json={"name": "new"})
            assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable"), path
            assert "nothing was changed" in answer.json()["detail"]
            assert answer.headers["Retry-After"] == "1"
        assert http.get(chat).status_code == 200
    [logged] = [record for record in caplog.records if "PostgreSQL fails" in record.message]
    assert "in a read-only transaction" in vars(logged)["reason"]
    for method, path in changes:
        assert http.request(method, path, json={"name": "new"}).is_success


def test_a_postgresql_without_our_tables_is_not_ready(
    http: httpx.Client, database: Database
) -> None:
    with by_default(database, "search_path = pg_catalog"):
        answer = http.get("/health/ready")
        assert answer.status_code == 503
        assert answer.json()["dependencies"]["postgresql"]["status"] == "unavailable"
    assert http.get("/health/ready").json()["dependencies"]["postgresql"]["status"] == "ok"


def test_a_change_of_a_process_that_stood_still_for_too_long_is_503(
    http: httpx.Client, database: Database, application: str
) -> None:
    from crud_service.stores.transactions import Written, change
    from web.problems import StoreUnavailable

    def rename(connection: Database) -> Written[bool]:
        connection.execute("SET idle_in_transaction_session_timeout = '20ms'")
        time.sleep(0.6)  # too long for another try
        connection.execute("UPDATE applications SET name = 'new'")
        return Written(True, None)

    with pytest.raises(StoreUnavailable, match="nothing was changed"):
        change(rename)
    assert http.get(application).json()["name"] == "An application"


@pytest.mark.parametrize(
    "setting", ["standard_conforming_strings = off", "client_encoding = latin1"]
)
def test_texts_are_the_same_whatever_a_database_has_as_its_default(
    http: httpx.Client, database: Database, application: str, setting: str
) -> None:
    chat = add_chat_of(database, application, 1, "back\\slash, 'quote' and ü")
    before = http.get(f"{chat}/messages").json()
    with by_default(database, setting):
        assert http.get(f"{chat}/messages").json() == before
        answer = http.put(f"{chat}/messages/1", json={"body": "\\ü\\'"})
        assert answer.json()["body"] == "\\ü\\'"


def test_a_change_waits_for_another_one_whatever_isolation_is_the_default(
    http: httpx.Client, database: Database, application: str
) -> None:
    with (
        by_default(database, "default_transaction_isolation = 'serializable'"),
        psycopg.connect(database.info.dsn, password=database.info.password) as other,
        ThreadPoolExecutor(1) as client,
    ):
        other.execute("UPDATE applications SET name = 'theirs'")
        waiting = client.submit(http.put, application, json={"name": "mine"})
        blocked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        wait_until(lambda: database.execute(blocked).fetchall() == [(1,)], 30)
        other.commit()
        answer = waiting.result()
    assert (answer.status_code, answer.json()["name"]) == (200, "mine")
