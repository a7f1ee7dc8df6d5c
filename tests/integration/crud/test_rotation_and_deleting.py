"""What is deleted is erased under every access token that its application has had."""

from collections.abc import Callable

import httpx
import psycopg
import pytest
import redis

from contract import keys
from contract.entries import Entry
from tests.integration.accepting import accept
from tests.integration.crud.test_deleted_messages import SECRET
from tests.integration.crud_rows import Database, add_chat_of, token_of

TABLES = ("messages", "conflicts", "set_aside_entries", "rotations")


@pytest.fixture
def drain(valkey: redis.Redis) -> Callable[[], None]:
    from crud_service.persist.drain import drain_accepted

    return lambda: drain_accepted(valkey)


@pytest.fixture
def renamed(
    http: httpx.Client,
    database: Database,
    application: str,
    valkey: redis.Redis,
    drain: Callable[[], None],
) -> str:
    """A rotated application; a conflict and a set-aside entry have its former token."""
    add_chat_of(database, application, 2)
    former = token_of(application)
    accept(valkey, 1, SECRET, token=former)
    accept(valkey, 3, f"{SECRET} \x00", token=former)
    drain()
    valkey.set(keys.message_sequence(former, 1), "3")
    path = rotate(http, application)
    assert kept(database) == {"conflicts": [1], "set_aside_entries": [3]}
    return path


def rotate(http: httpx.Client, application: str) -> str:
    answer = http.post(f"{application}/rotate", headers={"Idempotency-Key": "once"})
    assert answer.status_code == 200, answer.text
    return f"/applications/{answer.json()['access_token']}"


def kept(database: Database) -> dict[str, list[int]]:
    """The numbers of the entries that were not stored, by table."""
    tables = ("conflicts", "set_aside_entries")
    found = {
        table: database.execute(f"SELECT number FROM {table} ORDER BY id").fetchall()
        for table in tables
    }
    return {table: [number for (number,) in rows] for table, rows in found.items()}


def text_of(database: Database) -> str:
    """Every row of the tables in which a text, a name or a token might be left, as text."""
    tables = (*TABLES, "applications", "chats", "deletions", "search_texts")
    return str([database.execute(f"SELECT t::text FROM {it} t").fetchall() for it in tables])


def test_nothing_of_a_rotated_application_outlives_the_eraser(
    http: httpx.Client,
    database: Database,
    application: str,
    renamed: str,
    valkey: redis.Redis,
    drain: Callable[[], None],
    erase: Callable[[], None],
) -> None:
    tokens = [token_of(application), token_of(renamed), token_of(latest := rotate(http, renamed))]
    assert http.delete(latest).status_code == 202
    assert "An application" not in text_of(database)
    erase()
    for token in tokens:
        accept(valkey, 4, SECRET, token=token)
        accept(valkey, 5, f"{SECRET} \x00", token=token)
    drain()
    left = text_of(database)
    assert SECRET not in left
    for token in tokens:
        assert token not in left
        assert valkey.keys(f"*{token}*") == []
    assert database.execute("SELECT count(*) FROM deleted_applications").fetchone() == (3,)


def test_a_rotation_of_a_deleted_application_is_not_repeated(
    http: httpx.Client, application: str
) -> None:
    http.delete(rotate(http, application))
    answer = http.post(f"{application}/rotate", headers={"Idempotency-Key": "once"})
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_a_former_token_that_is_still_accepted_is_refused_by_the_eraser(
    http: httpx.Client,
    database: Database,
    application: str,
    valkey: redis.Redis,
) -> None:
    """The process that rotated was killed right after its commit."""
    from crud_service.api.rotation import rotating
    from crud_service.erase.eraser import Eraser

    former = token_of(application)
    assert rotating.begin(former, "once") is not None
    ((token,),) = database.execute("SELECT access_token FROM applications").fetchall()
    http.delete(f"/applications/{token}")
    Eraser(lambda _: valkey, grace_seconds=60).erase_some(database)
    for each in (former, token):
        assert valkey.get(keys.chat_sequence(each)) == keys.DELETED.encode()


def test_a_deleted_message_leaves_nothing_under_a_former_token(
    http: httpx.Client, database: Database, renamed: str
) -> None:
    http.delete(f"{renamed}/chats/1/messages/1")
    assert kept(database) == {"conflicts": [], "set_aside_entries": [3]}
    database.execute("UPDATE set_aside_entries SET number = 2")
    http.delete(f"{renamed}/chats/1/messages/2")
    assert kept(database) == {"conflicts": [], "set_aside_entries": []}


def test_a_deleted_chat_leaves_nothing_under_a_former_token(
    http: httpx.Client, database: Database, renamed: str, erase: Callable[[], None]
) -> None:
    http.delete(f"{renamed}/chats/1")
    erase()
    assert kept(database) == {"conflicts": [], "set_aside_entries": []}
    assert database.execute("SELECT count(*) FROM rotations").fetchone() == (1,)


@pytest.mark.parametrize("path", ["/chats/1", "/chats/1/messages/2"])
def test_an_entry_of_what_was_deleted_is_not_set_aside_under_a_former_token(
    http: httpx.Client,
    database: Database,
    application: str,
    valkey: redis.Redis,
    drain: Callable[[], None],
    path: str,
) -> None:
    add_chat_of(database, application, 2)
    former = token_of(application)
    assert http.delete(f"{rotate(http, application)}{path}").status_code == 204
    accept(valkey, 2, f"{SECRET} \x00", token=former)
    drain()
    assert kept(database) == {"conflicts": [], "set_aside_entries": []}


def test_entries_find_an_application_that_is_rotated_while_they_are_stored(
    http: httpx.Client,
    database: Database,
    application: str,
    clean_crud: dict[str, str],
) -> None:
    from crud_service.persist.former_tokens import find_current, store_by_any_token

    add_chat_of(database, application, 1)
    former = token_of(application)
    paths = [rotate(http, application)]

    def find_then_rotate(connection: psycopg.Connection, tokens: set[str]) -> dict[str, str]:
        found = find_current(connection, tokens)
        if len(paths) == 1:
            paths.append(rotate(http, paths[0]))
        return found

    with psycopg.connect(clean_crud["DATABASE_URL"], autocommit=True) as connection:
        entry = Entry("1-0", former, 1, 2, "late", "r")
        stored = store_by_any_token(connection, [entry], find_then_rotate)
    assert (stored.messages, stored.unknown) == (1, [])
    assert http.get(f"{paths[1]}/chats/1/messages/2").json()["body"] == "late"


def test_an_entry_under_a_former_token_is_dropped_if_the_application_is_deleted_meanwhile(
    http: httpx.Client,
    database: Database,
    application: str,
    clean_crud: dict[str, str],
) -> None:
    from crud_service.persist.former_tokens import find_current, store_by_any_token

    add_chat_of(database, application, 1)
    former = token_of(application)
    renamed = rotate(http, application)

    def find_after_deleting(connection: psycopg.Connection, tokens: set[str]) -> dict[str, str]:
        http.delete(renamed)
        return find_current(connection, tokens)

    with psycopg.connect(clean_crud["DATABASE_URL"], autocommit=True) as connection:
        entry = Entry("1-0", former, 1, 2, SECRET, "r")
        stored = store_by_any_token(connection, [entry], find_after_deleting)
    assert stored.messages == 0
    assert SECRET not in text_of(database)
