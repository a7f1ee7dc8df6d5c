"""What PostgreSQL and Redis refuse in the middle of the work, and what is left then."""

from collections.abc import Callable, Iterator

import psycopg
import pytest
import redis

from contract.keys import ACCEPTED
from tests.integration.accepting import accept, bodies, query

Drain = Callable[[], None]


@pytest.fixture
def poisoned(database: str) -> Iterator[None]:
    """Reject bodies that contain "poison"."""
    change = "ALTER TABLE messages {} CONSTRAINT poison"
    query(database, f"{change.format('ADD')} CHECK (body NOT LIKE '%poison%')")
    yield
    query(database, change.format("DROP"))


# Refuses the first attempt as if it were for the data, then fails for another reason, then stores.
MOODY = """
CREATE SEQUENCE attempts;
CREATE FUNCTION moody() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE attempt bigint := nextval('attempts');
BEGIN
    IF attempt = 1 THEN RAISE check_violation; END IF;
    IF attempt = 2 THEN RAISE lock_not_available; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER moody BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION moody()
"""
CALM = "DROP FUNCTION moody CASCADE; DROP SEQUENCE attempts"


@pytest.fixture
def moody(database: str) -> Iterator[None]:
    query(database, MOODY)
    yield
    query(database, CALM)


def stored_of(entry_id: str) -> tuple[str, object]:
    """Return the reason of a set-aside entry, from the table that operators see."""
    from crud_service.chat.models import SetAsideEntry

    row = SetAsideEntry.objects.get(entry_id=entry_id)
    return row.reason, row.id


def test_a_batch_of_refused_entries_reports_progress_with_each_transaction(
    database: str, stream: redis.Redis, poisoned: None
) -> None:
    """Such a batch takes longer than the sweep waits for a worker that is stuck."""
    from crud_service.persist.accepted import Batch, fill
    from crud_service.persist.poison import store_what_can_be

    for number in range(1, 9):
        accept(stream, number, "poison")
    seen: list[int] = []
    with psycopg.connect(database, autocommit=True) as connection:

        def progress() -> None:
            [(rows,)] = connection.execute("SELECT count(*) FROM set_aside_entries").fetchall()
            seen.append(rows)

        store_what_can_be(connection, fill(stream, Batch()).entries, progress)
    assert set(seen) == set(range(8))


def test_an_unreadable_entry_waits_for_standbys_as_one_that_is_stored_again_does(
    database: str, stream: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its row may have been found, whose commit never got its standby."""
    from crud_service.persist import drain

    waits: list[object] = []
    monkeypatch.setattr(drain, "wait_for_standbys", waits.append)
    for number, body, awaited in ((1, "new", 0), (2, b"\xff", 1), (1, "taken", 2)):
        accept(stream, number, body)
        drain.drain_accepted(stream)
        assert len(waits) == awaited


def test_an_entry_whose_second_attempt_meets_an_outage_is_not_set_aside(
    database: str, stream: redis.Redis, moody: None
) -> None:
    """Of an outage in the middle nobody knows whether the entry was to blame."""
    from crud_service.persist.accepted import Batch, fill
    from crud_service.persist.poison import store_what_can_be

    accept(stream, 1, "hello")
    entries = fill(stream, Batch()).entries
    with psycopg.connect(database, autocommit=True) as connection:
        with pytest.raises(psycopg.errors.LockNotAvailable):
            store_what_can_be(connection, entries)
        assert query(database, "SELECT count(*) FROM set_aside_entries") == [(0,)]
        assert store_what_can_be(connection, entries).messages == 1
    assert bodies(database) == [(1, "hello")]


def test_requeue_keeps_what_postgresql_still_refuses_with_the_reason(
    database: str, stream: redis.Redis, drain: Drain, poisoned: None
) -> None:
    from crud_service.persist.requeue import requeue

    entry_id = accept(stream, 1, "poison")
    drain()
    query(database, "UPDATE set_aside_entries SET reason = 'an earlier one'")
    requeued = requeue()
    [left] = requeued.left
    assert left.entry_id == entry_id
    assert "poison" in left.obstacle
    assert stored_of(entry_id)[0] == left.obstacle
    assert bodies(database) == []


def test_requeue_during_an_outage_raises_and_keeps_the_entry(
    database: str, stream: redis.Redis, drain: Drain
) -> None:
    from django.db import connection

    from crud_service.persist.requeue import requeue

    entry_id = accept(stream, 1, "was poison")
    constraint = "ALTER TABLE messages {} CONSTRAINT poison"
    query(database, f"{constraint.format('ADD')} CHECK (body NOT LIKE '%poison%')")
    drain()
    query(database, constraint.format("DROP"))
    with psycopg.connect(database) as other, connection.cursor() as cursor:
        other.execute("LOCK TABLE messages")
        cursor.execute("SET lock_timeout = '100ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            requeue()
        cursor.execute("SET lock_timeout = 0")
    assert stored_of(entry_id)
    assert requeue().stored.messages == 1


def test_an_entry_that_another_process_has_requeued_is_left_alone(
    database: str, stream: redis.Redis, drain: Drain
) -> None:
    from django.db import connection

    from crud_service.persist.requeue import Requeued, requeue_one

    connection.ensure_connection()
    requeued = Requeued()
    requeue_one(connection.connection, 1, requeued)
    assert (requeued.left, requeued.stored.messages) == ([], 0)


def test_a_batch_that_redis_does_not_remove_is_an_error(database: str, stream: redis.Redis) -> None:
    """It would be stored again and again, and counted each time."""
    from crud_service.persist.accepted import Batch, fill
    from crud_service.persist.poison import store_what_can_be
    from crud_service.persist.worker_metrics import remove_and_count

    accept(stream, 1, "hello")
    batch = fill(stream, Batch())
    with psycopg.connect(database, autocommit=True) as connection:
        stored = store_what_can_be(connection, batch.entries)
    stream.set(ACCEPTED, "not a stream")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        remove_and_count(stream, batch, stored, 0.1, 0.0)
