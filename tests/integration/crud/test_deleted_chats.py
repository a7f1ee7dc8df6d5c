"""DELETE of a chat, and of an application: the mark, and what the eraser leaves behind it."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import httpx
import psycopg
import pytest
import redis
from django.test import override_settings

from contract import keys
from contract.entries import Entry
from tests.integration.accepting import accept
from tests.integration.conftest import BetweenCalls
from tests.integration.crud.test_deleted_messages import SECRET, dump
from tests.integration.crud_rows import Database, add_chats, add_messages, token_of
from tests.polling import wait_until

COUNT = 70


@pytest.fixture
def chat(database: Database, application: str) -> str:
    """A chat that is folded and covered by blocks, next to another one."""
    from crud_service.search.feed.outbox import index_batch
    from crud_service.search.index.blocks import Uncovered

    add_chats(database, application, 2)
    add_messages(database, application, 1, "somebody else's", chat=2)
    path = add_messages(database, application, COUNT, SECRET)
    while index_batch(database, hand_on=False, uncovered=Uncovered(1, 0)):
        pass
    return path


def count(database: Database, table: str) -> int:
    row = database.execute(f"SELECT count(*) FROM {table}").fetchone()
    assert row is not None
    return int(row[0])


def test_a_deleted_chat_keeps_its_place_and_its_counts(http: httpx.Client, chat: str) -> None:
    http.put(chat, json={"name": "with a name"})
    before = http.get(chat).json()
    assert http.delete(chat).status_code == 204
    after = http.get(chat).json()
    assert list(after) == ["number", "message_count", "created_at", "updated_at", "deleted_at"]
    assert after["message_count"] == before["message_count"] == COUNT
    assert after["deleted_at"] == after["updated_at"] > before["updated_at"]
    application = chat.removesuffix("/chats/1")
    assert [each["number"] for each in http.get(f"{application}/chats").json()] == [1, 2]
    assert http.get(application).json()["chat_count"] == 2
    deleted = http.get(f"{application}/chats?include=last_message").json()[0]
    assert deleted == {**after, "last_message": None}


def test_messages_of_a_deleted_chat_are_410_from_the_first_moment(
    http: httpx.Client, chat: str
) -> None:
    http.delete(chat)
    answers = [
        http.get(f"{chat}/messages"),
        http.get(f"{chat}/messages?limit=1"),
        http.get(f"{chat}/messages?changed_after=0"),
        http.get(f"{chat}/messages/1"),
        http.get(f"{chat}/messages/{COUNT + 1}"),
        http.get(f"{chat}/messages/search?keyword={SECRET}"),
        http.get(f"{chat}/messages/stream"),
        http.put(f"{chat}/messages/1", json={"body": "again"}),
        http.delete(f"{chat}/messages/1"),
        http.put(chat, json={"name": "again"}),
    ]
    assert [(each.status_code, each.json()["code"]) for each in answers] == [
        (410, "chat_deleted")
    ] * 10
    assert http.get(f"{chat.removesuffix('1')}2/messages").status_code == 200


def test_a_chat_is_deleted_once(http: httpx.Client, database: Database, chat: str) -> None:
    stale = {"If-Match": '"stale"'}
    assert http.delete(chat, headers=stale).status_code == 412
    assert http.get(f"{chat}/messages/1").status_code == 200
    assert http.delete(chat).status_code == 204
    rows = dump(database)
    assert http.delete(chat).status_code == 204
    assert dump(database) == rows
    assert http.delete(f"{chat.removesuffix('1')}3").status_code == 404


@pytest.mark.parametrize("lookups", [1, 2, 3])
def test_what_is_not_stored_yet_when_its_chat_is_deleted_was_never_unknown(
    http: httpx.Client,
    chat: str,
    valkey: redis.Redis,
    between_calls: BetweenCalls,
    lookups: int,
) -> None:
    """The chat is deleted before one of the lookups of a GET."""
    from crud_service.api import not_stored_yet

    valkey.set(keys.message_sequence(token_of(chat.removesuffix("/chats/1")), 1), COUNT + 1)

    def delete() -> None:
        assert http.delete(chat).status_code == 204

    between_calls(not_stored_yet, "fetch_value", "attempt", happen=delete, after=lookups - 1)
    code = http.get(f"{chat}/messages/{COUNT + 1}").json()["code"]
    assert code == ("chat_deleted" if lookups < 3 else "not_stored_yet")


def test_a_refused_deletion_leaves_the_numbers_alone(
    http: httpx.Client, chat: str, valkey: redis.Redis
) -> None:
    """By them it is known what is not stored yet."""
    application = chat.removesuffix("/chats/1")
    valkey.set(keys.chat_sequence(token_of(application)), 3)
    valkey.set(keys.message_sequence(token_of(application), 1), COUNT + 1)
    for path, missing in ((chat, f"/messages/{COUNT + 1}"), (application, "/chats/3")):
        assert http.delete(path, headers={"If-Match": '"stale"'}).status_code == 412
        assert http.get(f"{path}{missing}").json()["code"] == "not_stored_yet"


def test_a_chat_that_is_not_deleted_after_all_gets_creations_again(
    http: httpx.Client, chat: str, valkey: redis.Redis, between_calls: BetweenCalls
) -> None:
    """It changes after it was looked up. Its sequence is missing, and seeded from the tables."""
    from crud_service.api import deleting

    sequence = keys.message_sequence(token_of(chat.removesuffix("/chats/1")), 1)
    valkey.set(sequence, COUNT)

    def change() -> None:
        assert http.put(chat, json={"name": "changed"}).status_code == 200

    between_calls(deleting, "hold", happen=change)
    current = {"If-Match": http.get(chat).headers["ETag"]}
    assert http.delete(chat, headers=current).status_code == 412
    assert valkey.get(sequence) is None
    http.delete(chat)
    assert valkey.get(sequence) == keys.DELETED.encode()


def test_nothing_of_a_chat_but_its_row_outlives_the_eraser(
    http: httpx.Client, database: Database, chat: str, erase: Callable[[], None]
) -> None:
    token = token_of(chat.removesuffix("/chats/1"))
    for entry_id, chat_number, number in (("1-1", 1, 2), ("1-2", None, 1)):
        database.execute(
            "INSERT INTO conflicts (entry_id, access_token, chat_number, number, body, accepted_at)"
            " VALUES (%s, %s, %s, %s, %s, now())",
            (entry_id, token, chat_number, number, SECRET),
        )
    assert SECRET[:3] in str(database.execute("SELECT keys FROM search_blocks").fetchall())
    http.delete(chat)
    erase()
    assert SECRET not in dump(database)
    assert [count(database, table) for table in ("messages", "search_texts")] == [1, 1]
    assert [count(database, table) for table in ("search_blocks", "deletions")] == [0, 0]
    assert http.get(chat).json()["message_count"] == COUNT


def test_entries_of_a_deleted_chat_are_not_stored(
    http: httpx.Client,
    database: Database,
    chat: str,
    valkey: redis.Redis,
    erase: Callable[[], None],
) -> None:
    from crud_service.persist.drain import drain_accepted

    token = token_of(chat.removesuffix("/chats/1"))
    http.delete(chat)
    accept(valkey, COUNT + 1, SECRET, token=token)
    accept(valkey, COUNT + 2, f"{SECRET} \x00", token=token)
    accept(valkey, 1, "", chat="", token=token)
    accept(valkey, 1, f"{SECRET} \x00", chat="", token=token)
    drain_accepted(valkey)
    erase()
    assert SECRET not in dump(database)
    assert valkey.xlen(keys.ACCEPTED) == 0
    assert count(database, "set_aside_entries") == count(database, "conflicts") == 0


def test_a_chat_deleted_while_a_batch_is_stored_gets_nothing_of_it(
    http: httpx.Client,
    database: Database,
    chat: str,
    clean_crud: dict[str, str],
) -> None:
    """The deletion is committed after the persister has found the chat."""
    from crud_service.persist.store import store

    entry = Entry("1-0", token_of(chat.removesuffix("/chats/1")), 1, COUNT + 1, SECRET, "r")
    with (
        psycopg.connect(clean_crud["DATABASE_URL"], autocommit=True) as connection,
        ThreadPoolExecutor(1) as thread,
    ):
        with database.transaction():
            # Nobody can insert a message, but all can read.
            database.execute("LOCK TABLE messages IN SHARE MODE")
            storing = thread.submit(store, connection, [entry])
            wait_until(lambda: is_waiting(database, connection), 30)
            assert http.delete(chat).status_code == 204
        stored = storing.result()
    assert (stored.dropped, stored.messages) == (1, 0)
    assert count(database, f"messages WHERE number > {COUNT}") == 0


def is_waiting(database: Database, other: Database) -> bool:
    """Return whether another connection waits for a lock."""
    blocking = "SELECT cardinality(pg_blocking_pids(%s)) > 0"
    row = database.execute(blocking, (other.info.backend_pid,)).fetchone()
    return bool(row and row[0])


def test_a_deleted_application_does_not_exist_any_more(
    http: httpx.Client, application: str, chat: str
) -> None:
    assert http.delete(application).status_code == 202
    for path in ("", "/chats", "/chats/1", "/chats/1/messages", "/stream"):
        answer = http.get(f"{application}{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), path
    listed = http.get("/applications?limit=9")
    assert (listed.json(), listed.headers["X-Total-Count"]) == ([], "0")
    assert http.put(application, json={"name": "x"}).status_code == 404
    assert http.delete(application).status_code == 404


def test_nothing_of_an_application_outlives_the_eraser(
    http: httpx.Client,
    database: Database,
    application: str,
    chat: str,
    valkey: redis.Redis,
    erase: Callable[[], None],
) -> None:
    from crud_service.persist.drain import drain_accepted

    token = token_of(application)
    valkey.set(keys.message_sequence(token, 1), COUNT)
    valkey.set(keys.idempotency(token, 1, "k"), "x")
    valkey.set(f"{keys.LIMITER}{token}", "1")
    valkey.hset(keys.LIMITS, token, "5 5")
    database.execute(
        "INSERT INTO search_failures (message_id, reason) SELECT id, 'x' FROM messages"
    )
    named = keys.idempotency("B" * 24, 1, f"copy:{token}:7")
    valkey.set(named, "x")
    accept(valkey, 1, "poison \x00", chat=2, token=token)
    drain_accepted(valkey)
    http.delete(f"{application}/chats/2")
    http.delete(application)
    assert valkey.get(keys.chat_sequence(token)) == keys.DELETED.encode()
    erase()
    accept(valkey, 1, SECRET, chat=3, token=token)
    accept(valkey, 1, "poison \x00", chat=3, token=token)
    drain_accepted(valkey)
    assert SECRET not in dump(database)
    assert token not in dump(database)
    assert "An application" not in dump(database)
    tables = ("applications", "chats", "messages", "search_texts", "search_chats", "deletions")
    tables += ("search_failures",)
    assert [count(database, table) for table in tables] == [0] * 7
    assert not valkey.hexists(keys.LIMITS, token)
    assert valkey.keys(f"*{token}*") == [named.encode()], "another application's"
    assert http.get("/applications?limit=9").headers["X-Total-Count"] == "0"


def test_an_eraser_that_stops_after_any_batch_is_continued_by_another(
    http: httpx.Client,
    database: Database,
    application: str,
    chat: str,
    valkey: redis.Redis,
) -> None:
    from crud_service.erase.eraser import Eraser
    from crud_service.erase.rows import erase_rows

    http.delete(application)
    batches, erase = 0, partial(erase_rows, batch_rows=10)
    while Eraser(lambda _: valkey, grace_seconds=0, erase=erase).erase_some(database):
        batches += 1
    assert batches > COUNT / 10
    assert count(database, "messages") == count(database, "applications") == 0


@pytest.fixture
def no_redis() -> Iterator[None]:
    """An address of Redis where nobody listens."""
    from crud_service.stores.redis_clients import api_redis

    api_redis.cache_clear()
    with override_settings(REDIS_URL="redis://127.0.0.1:1/0"):
        yield
    api_redis.cache_clear()


def test_without_redis_nothing_is_deleted(http: httpx.Client, chat: str, no_redis: None) -> None:
    answer = http.delete(chat)
    assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
    assert "nothing was changed" in answer.json()["detail"]
    assert http.get(f"{chat}/messages/1").status_code == 200


@pytest.mark.parametrize("path", ["", "/chats/1"])
def test_deleting_needs_the_admin_token_where_one_is_set(
    http: httpx.Client,
    application: str,
    chat: str,
    path: str,
) -> None:
    url = f"{application}{path}"
    with override_settings(ADMIN_TOKEN="admin"):
        assert http.delete(url).status_code == 401
        assert http.delete(url, headers={"Authorization": "Bearer other"}).status_code == 401
        assert http.get(url).status_code == 200
        assert http.delete(f"{chat}/messages/1").status_code == 204
        allowed = http.delete(url, headers={"Authorization": "Bearer admin"})
        assert allowed.status_code in {202, 204}
