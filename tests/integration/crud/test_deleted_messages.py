"""DELETE of a message: the tombstone it leaves, and what must not be left."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import psycopg
import pytest
import redis

from contract import keys
from contract.entries import Entry
from tests.integration.accepting import accept
from tests.integration.conftest import BetweenCalls
from tests.integration.crud_rows import Database, add_chat_of, lock_waits, token_of
from tests.polling import wait_until

SECRET = "quixotic"


@pytest.fixture
def chat(database: Database, application: str) -> str:
    return add_chat_of(database, application, 3, SECRET)


def dump(database: Database) -> str:
    """Every row of every table, as text; what operators did is kept in a log of its own."""
    tables = database.execute(
        "SELECT format('%I', tablename) FROM pg_tables WHERE schemaname = 'public'"
        " AND tablename <> 'django_admin_log'"
    ).fetchall()
    rows = [database.execute(f"SELECT t::text FROM {table} t").fetchall() for (table,) in tables]
    return str(rows)


def test_a_tombstone_keeps_its_number_and_times_and_nothing_else(
    http: httpx.Client, chat: str
) -> None:
    http.put(f"{chat}/messages/2", json={"body": SECRET, "metadata": {"mood": "calm"}})
    before = http.get(f"{chat}/messages/2").json()
    assert "metadata" in before
    answer = http.delete(f"{chat}/messages/2")
    assert (answer.status_code, answer.content) == (204, b"")
    tombstone = http.get(f"{chat}/messages/2").json()
    assert list(tombstone) == ["number", "body", "created_at", "updated_at", "deleted_at"]
    assert (tombstone["number"], tombstone["body"]) == (2, "")
    assert tombstone["created_at"] == before["created_at"]
    assert tombstone["deleted_at"] == tombstone["updated_at"] > before["updated_at"]
    assert [each["number"] for each in http.get(f"{chat}/messages").json()] == [1, 2, 3]
    assert http.get(f"{chat}/messages?limit=1&after=1").json() == [tombstone]
    assert http.get(chat).json()["message_count"] == 3


def test_deleting_again_changes_nothing(http: httpx.Client, database: Database, chat: str) -> None:
    http.delete(f"{chat}/messages/2")
    before, rows = http.get(f"{chat}/messages/2"), dump(database)
    assert http.delete(f"{chat}/messages/2").status_code == 204
    assert http.get(f"{chat}/messages/2").content == before.content
    assert dump(database) == rows


def test_the_text_is_gone_from_every_table_with_the_answer(
    http: httpx.Client, database: Database, chat: str
) -> None:
    from crud_service.search.feed.outbox import index_batch

    token = token_of(chat.removesuffix("/chats/1"))
    database.execute("UPDATE messages SET body = 'other' WHERE number <> 2")
    index_batch(database, hand_on=False)
    database.execute(
        "INSERT INTO conflicts (entry_id, access_token, chat_number, number, body, accepted_at)"
        " VALUES ('1-1', %s, 1, 2, %s, now())",
        (token, SECRET),
    )
    database.execute(
        "INSERT INTO set_aside_entries"
        " (entry_id, access_token, chat_number, number, payload, reason)"
        " SELECT '1-2', %s, 1, 2, to_jsonb(%s::text), ''",
        (token, SECRET),
    )
    database.execute(
        "UPDATE messages SET sender = %s, metadata = %s WHERE number = 2",
        (SECRET, f'{{"note": "{SECRET}"}}'),
    )
    assert dump(database).count(SECRET) == 6
    http.delete(f"{chat}/messages/2")
    assert SECRET not in dump(database)


def test_if_match_guards_a_message(http: httpx.Client, chat: str) -> None:
    message = f"{chat}/messages/1"
    tag = http.get(message).headers["ETag"]
    http.put(message, json={"body": "somebody was faster"})
    stale = http.delete(message, headers={"If-Match": tag})
    assert (stale.status_code, stale.json()["code"]) == (412, "precondition_failed")
    tag = http.get(message).headers["ETag"]
    assert http.delete(message, headers={"If-Match": tag}).status_code == 204
    assert http.delete(message, headers={"If-Match": tag}).status_code == 204


def test_a_tombstone_cannot_be_edited(http: httpx.Client, chat: str) -> None:
    http.delete(f"{chat}/messages/1")
    answer = http.put(f"{chat}/messages/1", json={"body": "again"})
    assert (answer.status_code, answer.json()["code"]) == (409, "message_deleted")
    assert http.get(f"{chat}/messages/1").json()["body"] == ""


def test_a_message_that_is_missing_or_not_stored_yet_is_404(
    http: httpx.Client, chat: str, clean_crud: dict[str, str]
) -> None:
    token = token_of(chat.removesuffix("/chats/1"))
    with redis.Redis.from_url(clean_crud["REDIS_URL"]) as client:
        client.set(keys.message_sequence(token, 1), 5)
    codes = [http.delete(f"{chat}/messages/{number}").json()["code"] for number in (5, 6)]
    assert codes == ["not_stored_yet", "not_found"]


def test_a_deletion_is_the_next_change_of_its_chat(http: httpx.Client, chat: str) -> None:
    http.put(f"{chat}/messages/3", json={"body": "edited"})
    http.delete(f"{chat}/messages/1")
    changed = http.get(f"{chat}/messages?changed_after=1")
    assert [each["number"] for each in changed.json()] == [1]
    assert changed.headers["X-Last-Change"] == "2"


def test_a_deleted_last_message_is_included_as_a_tombstone(http: httpx.Client, chat: str) -> None:
    http.delete(f"{chat}/messages/3")
    (listed,) = http.get(f"{chat.removesuffix('/1')}?include=last_message").json()
    assert listed["last_message"] == http.get(f"{chat}/messages/3").json()


@pytest.mark.parametrize("same_time", [True, False])
def test_no_entry_of_the_stream_brings_a_tombstone_back(
    http: httpx.Client,
    database: Database,
    chat: str,
    clean_crud: dict[str, str],
    same_time: bool,
) -> None:
    """Neither the one that it was stored from, repeated, nor another with its number."""
    from crud_service.persist.drain import drain_accepted

    row = database.execute(
        "SELECT (extract(epoch FROM created_at) * 1000)::bigint FROM messages WHERE number = 2"
    ).fetchone()
    assert row is not None
    http.delete(f"{chat}/messages/2")
    before = dump(database)
    token = token_of(chat.removesuffix("/chats/1"))
    with redis.Redis.from_url(clean_crud["REDIS_URL"], protocol=2) as client:
        accept(client, 2, SECRET, token=token, entry_id=f"{row[0]}-0" if same_time else "*")
        drain_accepted(client)
        assert client.xlen(keys.ACCEPTED) == 0
    assert dump(database) == before


def test_a_set_aside_entry_of_a_tombstone_is_not_kept(
    http: httpx.Client, database: Database, chat: str, clean_crud: dict[str, str]
) -> None:
    from crud_service.persist.drain import drain_accepted
    from crud_service.persist.requeue import requeue

    database.execute("DELETE FROM messages WHERE number IN (1, 2)")
    token = token_of(chat.removesuffix("/chats/1"))
    with redis.Redis.from_url(clean_crud["REDIS_URL"], protocol=2) as client:
        for number in (1, 2):
            accept(client, number, "poison \x00", token=token)
        drain_accepted(client)
        accept(client, 1, "stored later", token=token)
        drain_accepted(client)
        http.delete(f"{chat}/messages/1")
        accept(client, 1, "more poison \x00", token=token)
        drain_accepted(client)
    requeue()
    rows = database.execute("SELECT number FROM set_aside_entries").fetchall()
    assert rows == [(2,)]


def test_a_conflict_that_is_found_before_a_deletion_does_not_outlive_it(
    http: httpx.Client,
    database: Database,
    chat: str,
    clean_crud: dict[str, str],
    between_calls: BetweenCalls,
) -> None:
    """The deletion is held where it has looked for conflicts, until the persister has ended."""
    from crud_service.persist import store

    token = token_of(chat.removesuffix("/chats/1"))
    database.execute("UPDATE messages SET body = 'other'")
    database.execute(
        "INSERT INTO set_aside_entries"
        " (entry_id, access_token, chat_number, number, payload, reason)"
        " VALUES ('1-2', %s, 1, 2, '{}', '')",
        (token,),
    )
    deleting = []

    def delete() -> None:
        deleting.append(thread.submit(http.delete, f"{chat}/messages/2"))
        wait_until(lambda: lock_waits(clean_crud["DATABASE_URL"]) == 1, 10)

    between_calls(store, "conflict_row", happen=delete)
    with ThreadPoolExecutor(1) as thread, database.transaction():
        database.execute("SELECT FROM set_aside_entries FOR UPDATE")
        with psycopg.connect(clean_crud["DATABASE_URL"], autocommit=True) as connection:
            store.store(connection, [Entry("1000-0", token, 1, 2, SECRET, "r")])
    assert deleting[0].result().status_code == 204
    assert SECRET not in dump(database)


def together(*works: Callable[[], httpx.Response]) -> list[int]:
    """Send requests at once; return their statuses."""
    statuses: dict[int, int] = {}
    barrier = threading.Barrier(len(works))

    def work(position: int) -> None:
        barrier.wait()
        statuses[position] = works[position]().status_code

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [statuses[i] for i in range(len(works))]


def test_an_edit_at_the_same_time_comes_before_or_not_at_all(
    http: httpx.Client, database: Database, application: str
) -> None:
    chat = add_chat_of(database, application, 25)
    for number in range(1, 26):
        path = f"{chat}/messages/{number}"
        edited, *deleted = together(
            lambda path=path: http.put(path, json={"body": SECRET}),
            lambda path=path: http.delete(path),
            lambda path=path: http.delete(path),
        )
        assert edited in {200, 409}
        assert deleted == [204, 204]
        assert http.get(path).json()["body"] == ""
    assert SECRET not in dump(database)
