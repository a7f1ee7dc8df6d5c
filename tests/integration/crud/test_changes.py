"""The counter of a chat's changes: every change counts, whoever makes it, in commit order."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psycopg
import pytest

from tests.integration.crud_rows import Database, add_chats, add_messages, lock_waits
from tests.polling import wait_until

Step = Callable[[httpx.Client, Database, str], object]


@pytest.fixture
def messages(database: Database, application: str) -> str:
    """The path of the messages of chat 1; chat 2 has some as well."""
    add_chats(database, application, 2)
    add_messages(database, application, 3, chat=2)
    return f"{add_messages(database, application, 3, 'before')}/messages"


def changes(database: Database) -> tuple[list[int], list[tuple[int, int]]]:
    """The counters of both chats; number and change of each changed message, by change."""
    counters = database.execute("SELECT changes FROM chats ORDER BY number").fetchall()
    changed = "SELECT number, change FROM messages WHERE change > 0 ORDER BY chat_id, change"
    return [count for (count,) in counters], database.execute(changed).fetchall()


def put(http: httpx.Client, database: Database, messages: str) -> None:
    assert http.put(f"{messages}/2", json={"body": "after"}).status_code == 200


def put_twice(http: httpx.Client, database: Database, messages: str) -> None:
    put(http, database, messages)
    put(http, database, messages)


def save_in_django(http: httpx.Client, database: Database, messages: str) -> None:
    from crud_service.chat.models import Message

    message = Message.objects.get(chat__number=1, number=2)
    message.body = "after"
    message.save()


def update(http: httpx.Client, database: Database, messages: str) -> None:
    database.execute("UPDATE messages SET body = 'after' WHERE chat_id = 1 AND number = 2")


def update_versions(http: httpx.Client, database: Database, messages: str) -> None:
    database.execute("UPDATE messages SET version = 2 WHERE chat_id = 1 AND number = 2")


@pytest.mark.parametrize("change", [put, put_twice, save_in_django, update, update_versions])
def test_a_change_counts_whoever_makes_it(
    http: httpx.Client, database: Database, messages: str, change: Step
) -> None:
    change(http, database, messages)
    assert changes(database) == ([1, 0], [(2, 1)])


def test_a_change_of_many_rows_counts_each(database: Database, messages: str) -> None:
    database.execute("UPDATE messages SET body = body || '!'")
    counters, changed = changes(database)
    assert counters == [3, 3]
    assert sorted(number for _, number in changed) == [1, 1, 2, 2, 3, 3]


def test_each_change_of_a_message_moves_it_to_the_end(
    http: httpx.Client, database: Database, messages: str
) -> None:
    for number, body in ((1, "a"), (3, "b"), (1, "c")):
        http.put(f"{messages}/{number}", json={"body": body})
    assert changes(database) == ([3, 0], [(3, 2), (1, 3)])


def same_body(http: httpx.Client, database: Database, messages: str) -> None:
    assert http.put(f"{messages}/2", json={"body": "before"}).status_code == 200


def failed_precondition(http: httpx.Client, database: Database, messages: str) -> None:
    tag = {"If-Match": '"other"'}
    assert http.put(f"{messages}/2", json={"body": "x"}, headers=tag).status_code == 412


def same_in_sql(http: httpx.Client, database: Database, messages: str) -> None:
    database.execute("UPDATE messages SET body = body, created_at = created_at")


def rolled_back(http: httpx.Client, database: Database, messages: str) -> None:
    with database.transaction(force_rollback=True):
        update(http, database, messages)


@pytest.mark.parametrize("step", [same_body, failed_precondition, same_in_sql, rolled_back])
def test_what_changes_nothing_is_not_counted(
    http: httpx.Client, database: Database, messages: str, step: Step
) -> None:
    step(http, database, messages)
    assert changes(database) == ([0, 0], [])


def test_changes_of_a_chat_commit_in_their_order(
    http: httpx.Client, database: Database, messages: str, clean_crud: dict[str, str]
) -> None:
    """A PUT waits for an earlier change of another message of its chat, but of no other chat."""
    other = messages.replace("/chats/1/", "/chats/2/")
    with (
        ThreadPoolExecutor(1) as pool,
        psycopg.connect(clean_crud["DATABASE_URL"]) as earlier,
    ):
        earlier.execute("UPDATE messages SET body = 'first' WHERE chat_id = 1 AND number = 3")
        put = pool.submit(http.put, f"{messages}/1", json={"body": "second"})
        wait_until(lambda: lock_waits(database) == 1, 30, lambda: "the PUT does not wait")
        assert http.put(f"{other}/1", json={"body": "at once"}).status_code == 200
        assert changes(database) == ([0, 1], [(1, 1)])
        earlier.commit()
        assert put.result().status_code == 200
    assert changes(database) == ([2, 1], [(3, 1), (1, 2), (1, 1)])


def one(database: Database, sql: str) -> Any:
    return (database.execute(sql).fetchone() or (None,))[0]


def test_concurrent_changes_are_seen_in_order(
    http: httpx.Client, database: Database, messages: str, clean_crud: dict[str, str]
) -> None:
    """A reader that follows the counter never meets a change below one that it has seen."""
    seen: list[int] = []

    def follow(puts: list[Any]) -> None:
        last = 0
        while True:
            ended = all(put.done() for put in puts)
            rows = database.execute(
                "SELECT change FROM messages WHERE chat_id = 1 AND change > %s ORDER BY change",
                (last,),
            ).fetchall()
            seen.extend(change for (change,) in rows)
            last = seen[-1] if seen else 0
            if ended:
                return

    with ThreadPoolExecutor(8) as pool:
        puts = [
            pool.submit(http.put, f"{messages}/{n % 3 + 1}", json={"body": f"{n}"})
            for n in range(120)
        ]
        follow(puts)
    assert {put.result().status_code for put in puts} == {200}
    assert changes(database)[0] == [120, 0]
    assert seen == sorted(set(seen))
    assert seen[-1] == 120


def test_a_chat_may_be_deleted_before_its_messages(database: Database, messages: str) -> None:
    with database.transaction():
        database.execute("DELETE FROM chats WHERE number = 1")
        database.execute("UPDATE messages SET body = 'x' WHERE chat_id = 1")
        database.execute("DELETE FROM messages WHERE chat_id = 1")
    assert changes(database) == ([0], [])
