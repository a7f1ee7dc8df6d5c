"""Storing accepted entries, on real stores."""

import threading
from collections.abc import Callable, Iterator

import psycopg
import pytest
import redis

from contract.entries import created_at
from contract.keys import ACCEPTED, DOORBELL_INDEX, LEASE_PERSIST
from tests.integration.accepting import TOKEN, accept, bodies, counts_that_differ, query


def test_chats_and_messages_become_rows_with_exact_counts(
    database: str, stream: redis.Redis, drain: Callable[[], None]
) -> None:
    accept(stream, 1, "", chat="")
    accept(stream, 2, "", chat="")
    for number in range(1, 6):
        accept(stream, number, f"body {number}", chat=2)
    drain()
    assert bodies(database, 2) == [(number, f"body {number}") for number in range(1, 6)]
    assert query(database, "SELECT number, message_count FROM chats ORDER BY number") == [
        (1, 0),
        (2, 5),
    ]
    assert query(database, "SELECT chat_count FROM applications") == [(2,)]
    assert stream.xlen(ACCEPTED) == 0


def test_a_row_was_created_when_its_number_was_answered(
    database: str, stream: redis.Redis, drain: Callable[[], None]
) -> None:
    entry_id = accept(stream, 1, entry_id="1660083472599-0")
    drain()
    [row] = query(database, "SELECT created_at, updated_at FROM messages")
    assert row == (created_at(entry_id), created_at(entry_id))


def test_a_message_creates_its_missing_chat(
    database: str, stream: redis.Redis, drain: Callable[[], None]
) -> None:
    accept(stream, 1, "first", chat=9)
    drain()
    assert bodies(database, 9) == [(1, "first")]
    assert counts_that_differ(database) == []


def test_a_body_is_stored_verbatim(
    database: str, stream: redis.Redis, drain: Callable[[], None]
) -> None:
    body = ' \n\t"quotes" \\ {1,2} NULL %s 漢字 👩‍👩‍👧 e\u0301 \x01 שלום '
    accept(stream, 1, body)
    drain()
    assert bodies(database) == [(1, body)]


def test_a_replayed_entry_inserts_nothing(
    database: str, stream: redis.Redis, drain: Callable[[], None]
) -> None:
    entry_id = accept(stream, 1, "once")
    drain()
    stream.delete(ACCEPTED)
    accept(stream, 1, "once", entry_id=entry_id)
    drain()
    assert bodies(database) == [(1, "once")]
    assert counts_that_differ(database) == []
    assert query(database, "SELECT * FROM conflicts") == []


def test_a_replay_of_a_message_edited_since_is_not_a_conflict(
    database: str, stream: redis.Redis, drain: Callable[[], None]
) -> None:
    entry_id = accept(stream, 1, "before")
    drain()
    query(database, "UPDATE messages SET body = 'after', version = 2")
    stream.delete(ACCEPTED)
    accept(stream, 1, "before", entry_id=entry_id)
    drain()
    assert bodies(database) == [(1, "after")]
    assert query(database, "SELECT * FROM conflicts") == []


@pytest.mark.parametrize("in_one_batch", [True, False])
def test_a_number_that_is_taken_is_kept_as_a_conflict(
    database: str, stream: redis.Redis, drain: Callable[[], None], in_one_batch: bool
) -> None:
    accept(stream, 1, "first", entry_id="1000-0")
    if not in_one_batch:
        drain()
    second = accept(stream, 1, "second", entry_id="1001-0")
    accept(stream, 2, "third", entry_id="1002-0")
    drain()
    assert bodies(database) == [(1, "first"), (2, "third")]
    kept = query(
        database, "SELECT entry_id, access_token, chat_number, number, body FROM conflicts"
    )
    assert kept == [(second, TOKEN, 1, 1, "second")]
    assert counts_that_differ(database) == []


@pytest.mark.parametrize(
    ("entry_ids", "in_one_batch"),
    [
        (["1000-0", "1001-0"], True),
        (["1000-0", "1000-1"], True),
        (["1000-0", "1001-0"], False),
        (["1001-0", "1000-0"], False),
    ],
)
def test_a_chat_whose_number_is_taken_is_kept_as_a_conflict(
    database: str,
    stream: redis.Redis,
    drain: Callable[[], None],
    entry_ids: list[str],
    in_one_batch: bool,
) -> None:
    first, second = entry_ids
    accept(stream, 1, "", chat="", entry_id=first)
    if not in_one_batch:
        drain()
        stream.delete(ACCEPTED)
    accept(stream, 1, "", chat="", entry_id=second)
    drain()
    kept = query(
        database, "SELECT entry_id, access_token, chat_number, number, body FROM conflicts"
    )
    assert kept == [(second, TOKEN, None, 1, "")]
    assert query(database, "SELECT created_at FROM chats") == [(created_at(first),)]
    assert counts_that_differ(database) == []


def test_a_conflict_over_a_chat_counts_as_a_number_handed_out(
    database: str, stream: redis.Redis, drain: Callable[[], None]
) -> None:
    from crud_service.chat.highest_numbers import HIGHEST_CHAT

    accept(stream, 1, "", chat="", entry_id="1000-0")
    accept(stream, 1, "", chat="", entry_id="1001-0")
    drain()
    query(database, "UPDATE conflicts SET number = 7")
    [row] = query(database, HIGHEST_CHAT, TOKEN)
    assert 7 in row


def test_a_replayed_chat_is_not_a_conflict(
    database: str, stream: redis.Redis, drain: Callable[[], None]
) -> None:
    for _ in range(2):
        stream.delete(ACCEPTED)
        for number in (1, 2):
            accept(stream, number, "", chat="", entry_id=f"{number}000-0")
        accept(stream, 1, "first", chat=1, entry_id="3000-0")
        drain()
    assert query(database, "SELECT * FROM conflicts") == []
    assert counts_that_differ(database) == []


def test_a_chat_created_by_a_message_does_not_conflict_with_its_own_entry(
    database: str, stream: redis.Redis, drain: Callable[[], None]
) -> None:
    accept(stream, 1, "first", chat=9, entry_id="2000-0")
    drain()
    stream.delete(ACCEPTED)
    accept(stream, 9, "", chat="", entry_id="1000-0")
    drain()
    assert query(database, "SELECT * FROM conflicts") == []


def test_a_replayed_conflict_is_kept_once(
    database: str, stream: redis.Redis, drain: Callable[[], None]
) -> None:
    for _ in range(2):
        stream.delete(ACCEPTED)
        accept(stream, 1, "first", entry_id="1000-0")
        accept(stream, 1, "second", entry_id="1001-0")
        drain()
        assert stream.xlen(ACCEPTED) == 0
    assert query(database, "SELECT body FROM conflicts") == [("second",)]


def test_two_persisters_at_once_store_everything_once(database: str, stream: redis.Redis) -> None:
    from crud_service.persist.accepted import Batch, fill
    from crud_service.persist.store import store

    for number in range(1, 301):
        accept(stream, number, f"body {number}", chat=1 + number % 3)
    entries = fill(stream, Batch()).entries

    def persist(parts: list[slice]) -> None:
        with psycopg.connect(database, autocommit=True) as connection:
            for part in parts:
                store(connection, entries[part])

    forwards = [slice(start, start + 50) for start in range(0, 300, 25)]
    threads = [
        threading.Thread(target=persist, args=(parts,))
        for parts in (forwards, forwards[::-1], [slice(0, 300)])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert query(database, "SELECT count(*) FROM messages") == [(300,)]
    assert counts_that_differ(database) == []
    assert query(database, "SELECT * FROM conflicts") == []


def test_without_the_lease_the_stream_is_left_alone(
    database: str, stream: redis.Redis, drain: Callable[[], None]
) -> None:
    stream.set(LEASE_PERSIST, "somebody else")
    accept(stream, 1)
    drain()
    assert stream.xlen(ACCEPTED) == 1
    assert stream.get(LEASE_PERSIST) == b"somebody else"


def test_the_lease_is_released_at_the_end(
    database: str, stream: redis.Redis, drain: Callable[[], None]
) -> None:
    accept(stream, 1)
    drain()
    assert not stream.exists(LEASE_PERSIST)


def test_an_entry_accepted_just_before_the_lease_is_released_is_not_left_behind(
    database: str, stream: redis.Redis
) -> None:
    from crud_service.duties.lease import Lease, persisting
    from crud_service.persist.drain import persist_accepted

    late = iter([2])

    class LeaseGivenBackLate(Lease):
        def give_back(self, pause_ms: int = 0) -> bool:
            for number in late:
                accept(stream, number, "late")
            return super().give_back(pause_ms)

    accept(stream, 1, "early")
    persist_accepted(stream, LeaseGivenBackLate(stream, persisting()), stay=False)
    assert bodies(database) == [(1, "early"), (2, "late")]


def test_a_stored_batch_rings_the_doorbell_once(
    database: str, stream: redis.Redis, drain: Callable[[], None]
) -> None:
    for number in (1, 2):
        accept(stream, number, request_id=f"request {number}")
        drain()
    assert stream.lrange(DOORBELL_INDEX, 0, -1) == [b"request 2"]


def test_every_batch_is_counted_and_its_lag_too(
    database: str, stream: redis.Redis, drain: Callable[[], None]
) -> None:
    from crud_service.monitoring.store_metrics import worker_metrics

    for number in (1, 2, 3):
        accept(stream, number)
    drain()
    samples = [sample for metric in worker_metrics() for sample in metric.samples]
    values = {(sample.name, sample.labels.get("le")): sample.value for sample in samples}
    assert values["chat_persist_messages_total", None] == 3
    assert values["chat_persist_batches_total", None] == 1
    assert values["chat_persist_lag_seconds_bucket", "+Inf"] == 3
    assert values["chat_persist_batch_entries_bucket", "5"] == 1


def test_a_full_redis_does_not_stop_the_persister(
    database: str,
    stream: redis.Redis,
    drain: Callable[[], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    accept(stream, 1)
    stream.config_set("maxmemory", 1)
    try:
        drain()
    finally:
        stream.config_set("maxmemory", 0)
    assert "persisting waits" not in caplog.text
    assert bodies(database) == [(1, "hello")]
    assert stream.xlen(ACCEPTED) == 0


@pytest.fixture(params=["statement_timeout", "transaction_timeout"])
def slow_table(database: str, request: pytest.FixtureRequest) -> Iterator[None]:
    """Let each message take 10 ms to store, and no statement or transaction more than a second."""
    from django.db import connection

    timeout, name = request.param, database.rpartition("/")[2]
    query(
        database,
        "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_sleep(0.01); RETURN NEW; END $$",
    )
    query(
        database,
        "CREATE TRIGGER dawdle BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION dawdle()",
    )
    query(database, f'ALTER DATABASE "{name}" SET {timeout} = 1000')
    connection.close()
    yield
    query(database, f'ALTER DATABASE "{name}" RESET {timeout}')
    query(database, "DROP FUNCTION dawdle CASCADE")
    connection.close()


def test_a_batch_that_takes_too_long_is_not_retried_endlessly(
    database: str, stream: redis.Redis, drain: Callable[[], None], slow_table: None
) -> None:
    for number in range(1, 301):
        accept(stream, number)
    for _ in range(10):
        drain()
    assert stream.xlen(ACCEPTED) == 0
    assert query(database, "SELECT count(*) FROM messages") == [(300,)]


def test_a_connection_that_died_while_idle_costs_no_outage(
    database: str, stream: redis.Redis, drain: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    from crud_service.persist.drain import open_connection

    backend = open_connection().info.backend_pid
    query(database, "SELECT pg_terminate_backend(%s, 5000)", backend)
    accept(stream, 1)
    drain()
    assert bodies(database) == [(1, "hello")]
    assert "persisting waits" not in caplog.text
