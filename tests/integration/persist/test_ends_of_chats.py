"""Where a chat ends, and messages that are stored behind its end."""

from collections.abc import Callable

import psycopg
import pytest
import redis

from contract.entries import Entry
from contract.keys import ACCEPTED
from tests.integration.accepting import TOKEN, Row, accept, query


def ends(database: str) -> list[Row]:
    """Each chat: its number, its highest number, and its last message by its id."""
    return query(
        database,
        "SELECT c.number, c.highest_number, m.number FROM chats c "
        "LEFT JOIN messages m ON m.id = c.last_message_id ORDER BY c.number",
    )


def changes(database: str) -> tuple[list[int], list[Row]]:
    """The counter of each chat; the number and change of each changed message, in that order."""
    counters = [count for (count,) in query(database, "SELECT changes FROM chats ORDER BY number")]
    changed = "SELECT number, change FROM messages WHERE change > 0 ORDER BY chat_id, change"
    return counters, query(database, changed)


def store(database: str, *entries: Entry) -> None:
    from crud_service.persist.store import store

    with psycopg.connect(database, autocommit=True) as connection:
        store(connection, entries)


def message(number: int, chat: int = 1) -> Entry:
    return Entry(f"{1000 * chat + number}-0", TOKEN, chat, number, f"body {number}", "r")


def test_a_chat_knows_its_last_message(
    database: str, stream: redis.Redis, drain: Callable[[], None]
) -> None:
    accept(stream, 1, "", chat="")
    accept(stream, 1, chat=2)
    drain()
    assert ends(database) == [(1, 0, None), (2, 1, 1)]
    for number in (2, 3):
        accept(stream, number, chat=2)
    accept(stream, 1)
    drain()
    assert ends(database) == [(1, 1, 1), (2, 3, 3)]
    assert changes(database) == ([0, 0], [])


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 1, 3)])
def test_chats_of_one_batch_end_in_the_order_of_the_stream(
    database: str, order: tuple[int, ...]
) -> None:
    for chat in (1, 2, 3):
        store(database, message(1, chat))
    store(database, *(message(2, chat) for chat in order))
    by_last = query(database, "SELECT number FROM chats ORDER BY last_message_id")
    assert [number for (number,) in by_last] == list(order)


def test_a_batch_in_another_order_of_numbers_ends_with_the_highest(database: str) -> None:
    store(database, message(3), message(1), message(2))
    assert ends(database) == [(1, 3, 3)]
    assert changes(database) == ([0], [])


def test_a_message_stored_behind_the_end_is_a_change(database: str) -> None:
    store(database, message(2), message(5), message(2, chat=2))
    store(database, message(4), message(6), message(1), message(3, chat=2), message(1, chat=3))
    assert changes(database) == ([2, 0, 0], [(1, 1), (4, 2)])
    assert ends(database) == [(1, 6, 6), (2, 3, 3), (3, 1, 1)]
    query(database, "UPDATE messages SET body = 'edited' WHERE chat_id = 1 AND number = 4")
    store(database, message(3))
    assert changes(database) == ([4, 0, 0], [(1, 1), (4, 3), (3, 4)])


def test_a_replay_changes_nothing(database: str) -> None:
    entries = [message(1), message(3), message(1, chat=2)]
    store(database, *entries)
    store(database, message(2))
    before = query(database, "SELECT * FROM chats"), query(database, "SELECT * FROM messages")
    store(database, *entries, message(2))
    store(database, message(2))
    assert before == (
        query(database, "SELECT * FROM chats"),
        query(database, "SELECT * FROM messages"),
    )
    assert changes(database) == ([1, 0], [(2, 1)])


def test_a_conflict_changes_nothing(database: str) -> None:
    store(database, message(1), message(2))
    store(database, Entry("9-0", TOKEN, 1, 1, "another", "r"))
    assert len(query(database, "SELECT * FROM conflicts")) == 1
    assert changes(database) == ([0], [])
    assert ends(database) == [(1, 2, 2)]


def test_a_requeued_entry_is_a_change_unless_it_is_the_last(
    database: str, stream: redis.Redis, drain: Callable[[], None]
) -> None:
    from crud_service.persist.requeue import requeue

    refuse = "ALTER TABLE messages ADD CONSTRAINT refused CHECK (body !~ 'poison')"
    query(database, refuse)
    for number, body in enumerate(("first", "poison", "third", "poison"), 1):
        accept(stream, number, body)
    drain()
    assert stream.xlen(ACCEPTED) == 0
    assert ends(database) == [(1, 3, 3)]
    query(database, "ALTER TABLE messages DROP CONSTRAINT refused")
    assert requeue().stored.messages == 2
    assert changes(database) == ([1], [(2, 1)])
    assert ends(database) == [(1, 4, 4)]


def test_a_late_message_does_not_overtake_a_change_that_is_being_committed(database: str) -> None:
    store(database, message(1), message(3))
    with psycopg.connect(database) as editor, psycopg.connect(database, autocommit=True) as late:
        editor.execute("UPDATE messages SET body = 'edited' WHERE number = 3")
        late.execute("SET lock_timeout = '200ms'")
        from crud_service.persist.store import store as store_on

        with pytest.raises(psycopg.errors.LockNotAvailable):
            store_on(late, [message(2)])
        editor.commit()
        store_on(late, [message(2)])
    assert changes(database) == ([2], [(3, 1), (2, 2)])
