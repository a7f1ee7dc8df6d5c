"""Entries that can never be stored, outages that look like them, and requeueing."""

import io
import logging
from collections.abc import Callable, Iterator

import pytest
import redis

from contract import changed_chats
from contract.keys import ACCEPTED, CHANGED_CHATS, WORKER_METRICS
from tests.integration.accepting import (
    TOKEN,
    accept,
    accept_raw,
    bodies,
    counts_that_differ,
    make_application,
    query,
)

Environment = dict[str, str]
UNKNOWN = "UnknownUnknownUnknown123"


@pytest.fixture
def poisoned_table(database: str) -> Iterator[Callable[[], None]]:
    """Reject bodies that contain "poison" until the yielded function is called."""
    drop = "ALTER TABLE messages DROP CONSTRAINT IF EXISTS poison"
    query(
        database,
        "ALTER TABLE messages ADD CONSTRAINT poison CHECK (body NOT LIKE '%poison%')",
    )
    yield lambda: query(database, drop)
    query(database, drop)


def set_aside_rows(database: str) -> list[tuple[object, ...]]:
    return query(
        database,
        "SELECT entry_id, access_token, chat_number, number FROM set_aside_entries ORDER BY id",
    )


def test_an_entry_that_postgresql_rejects_is_set_aside_and_blocks_nothing(
    database: str,
    stream: redis.Redis,
    drain: Callable[[], None],
    poisoned_table: Callable[[], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    poisoned = {number: accept(stream, number, "poison") for number in (3, 17)}
    good = [number for number in range(1, 31) if number not in poisoned]
    for number in good:
        accept(stream, number, "fine")
    drain()
    assert [number for number, _ in bodies(database)] == good
    assert set_aside_rows(database) == [
        (entry_id, TOKEN, 1, number) for number, entry_id in poisoned.items()
    ]
    [(reason,)] = query(database, "SELECT DISTINCT reason FROM set_aside_entries")
    assert "23514" in reason
    assert "poison" in reason
    assert counts_that_differ(database) == []
    assert stream.xlen(ACCEPTED) == 0
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == 2


def test_an_unreadable_entry_is_set_aside_with_its_readable_values(
    database: str, stream: redis.Redis, drain: Callable[[], None]
) -> None:
    garbage = accept_raw(stream, {"something": "else"})
    not_utf8 = accept(stream, 5, b"\xff\xfe")
    nul = accept(stream, 6, "nul \x00")
    too_high = accept(stream, 2**63, "x")
    negative = accept(stream, -1, "x")
    accept(stream, 1, "fine")
    drain()
    assert bodies(database) == [(1, "fine")]
    assert set_aside_rows(database) == [
        (garbage, "", None, None),
        (not_utf8, TOKEN, 1, 5),
        (nul, TOKEN, 1, 6),
        (too_high, TOKEN, 1, None),
        (negative, TOKEN, 1, None),
    ]


def test_an_entry_of_an_unknown_application_is_set_aside(
    database: str, stream: redis.Redis, drain: Callable[[], None]
) -> None:
    accept(stream, 1, "lost", token=UNKNOWN)
    accept(stream, 1, "fine")
    drain()
    assert bodies(database) == [(1, "fine")]
    assert query(database, "SELECT reason, payload->>'body' FROM set_aside_entries") == [
        ("unknown application", "lost")
    ]


def test_the_same_poison_twice_is_set_aside_once(
    database: str, stream: redis.Redis, drain: Callable[[], None]
) -> None:
    for _ in range(2):
        stream.delete(ACCEPTED)
        accept_raw(stream, {"something": "else"}, entry_id="5-5")
        drain()
        assert stream.xlen(ACCEPTED) == 0
    assert query(database, "SELECT entry_id FROM set_aside_entries") == [("5-5",)]


def test_an_outage_is_not_poison_and_is_waited_out(
    database: str, stream: redis.Redis, drain: Callable[[], None]
) -> None:
    accept(stream, 1, "patient")
    query(database, "ALTER TABLE messages RENAME TO gone")
    try:
        drain()
    finally:
        query(database, "ALTER TABLE gone RENAME TO messages")
    assert stream.xlen(ACCEPTED) == 1
    assert stream.hget(WORKER_METRICS, "persist_outages") == b"1"
    assert set_aside_rows(database) == []
    drain()
    assert bodies(database) == [(1, "patient")]


def test_a_read_only_database_is_waited_out(
    database: str, stream: redis.Redis, drain: Callable[[], None]
) -> None:
    from django.db import connection

    accept(stream, 1, "patient")
    connection.close()
    name = database.rpartition("/")[2]
    query(database, f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    try:
        drain()
        assert stream.xlen(ACCEPTED) == 1
    finally:
        query(
            f"{database}?options=-cdefault_transaction_read_only%3Doff",
            f'ALTER DATABASE "{name}" RESET default_transaction_read_only',
        )
    drain()
    assert bodies(database) == [(1, "patient")]
    assert set_aside_rows(database) == []


def test_requeue_stores_set_aside_entries_with_their_numbers_and_times(
    database: str,
    stream: redis.Redis,
    drain: Callable[[], None],
    poisoned_table: Callable[[], None],
) -> None:
    from crud_service.persist.requeue import requeue

    accept(stream, 7, "was poison", entry_id="1660083472599-0")
    accept(stream, 1, "", chat="", token=UNKNOWN)
    accept(stream, 1, "hello", token=UNKNOWN)
    drain()
    poisoned_table()
    make_application(database, UNKNOWN)
    with stream.pubsub(ignore_subscribe_messages=True) as listener:  # type: ignore[no-untyped-call] # untyped in redis-py
        listener.subscribe(CHANGED_CHATS)
        listener.get_message(timeout=5)
        requeued = requeue()
        announced = changed_chats.decode(listener.get_message(timeout=5)["data"])
    assert sorted(announced.chats) == sorted([(TOKEN, 1), (UNKNOWN, 1)])
    assert (requeued.stored.messages, requeued.stored.chats, requeued.left) == (2, 2, [])
    rows = query(
        database,
        "SELECT number, body, round(extract(epoch FROM created_at) * 1000)::bigint FROM messages "
        "ORDER BY number DESC",
    )
    assert rows[0] == (7, "was poison", 1660083472599)
    assert set_aside_rows(database) == []
    assert counts_that_differ(database) == []


def test_requeue_leaves_what_still_cannot_be_stored_and_reports_why(
    database: str, stream: redis.Redis, drain: Callable[[], None]
) -> None:
    from django.core.management import CommandError, call_command

    entry_id = accept(stream, 1, "lost", token=UNKNOWN)
    drain()
    out, err = io.StringIO(), io.StringIO()
    with pytest.raises(CommandError):
        call_command("requeue", stdout=out, stderr=err)
    assert f"{entry_id}: unknown application" in err.getvalue()
    assert "1 still set aside" in out.getvalue()
    assert len(set_aside_rows(database)) == 1


def test_requeue_counts_the_entries_of_two_shards_that_have_the_same_id(
    database: str, stream: redis.Redis
) -> None:
    from crud_service.persist.requeue import requeue

    query(
        database,
        "INSERT INTO set_aside_entries (entry_id, access_token, payload, reason)"
        " SELECT '1000-0', token, '{}', 'of a test' FROM unnest('{a,b}'::text[]) AS token",
    )
    requeued = requeue()
    assert [left.entry_id for left in requeued.left] == ["1000-0", "1000-0"]
    assert "2 still set aside" in requeued.describe()


def test_requeue_leaves_an_entry_that_no_column_can_hold(
    database: str, stream: redis.Redis, drain: Callable[[], None]
) -> None:
    from crud_service.persist.requeue import requeue

    entry_id = accept(stream, 1, "with \x00")
    drain()
    assert requeue().left == [(entry_id, "contains U+0000, which PostgreSQL cannot store")]
    assert len(set_aside_rows(database)) == 1


def test_requeue_of_a_number_taken_meanwhile_makes_a_conflict(
    database: str,
    stream: redis.Redis,
    drain: Callable[[], None],
    poisoned_table: Callable[[], None],
) -> None:
    from crud_service.persist.requeue import requeue

    accept(stream, 1, "poison", entry_id="1000-0")
    accept(stream, 1, "other", entry_id="1001-0")
    drain()
    poisoned_table()
    requeued = requeue()
    assert len(requeued.stored.conflicts) == 1
    assert bodies(database) == [(1, "other")]
    assert query(database, "SELECT body FROM conflicts") == [("poison",)]
    assert set_aside_rows(database) == []


def test_requeue_refuses_an_entry_that_is_not_set_aside(clean_crud: Environment) -> None:
    from django.core.management import CommandError, call_command

    with pytest.raises(CommandError, match="not set aside: 9-9"):
        call_command("requeue", "9-9")
