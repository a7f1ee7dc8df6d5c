"""Two concurrent persisters, interleaved at every statement of their transactions."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, repeat
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contract.entries import Entry
from tests.integration.accepting import TOKEN, counts_that_differ, make_application, query

STUCK_SECONDS = 20


def chat(number: int, at: int) -> Entry:
    return Entry(f"{at}-0", TOKEN, None, number, "", "r")


def message(chat_number: int, number: int, at: int) -> Entry:
    return Entry(f"{at}-0", TOKEN, chat_number, number, f"body of {at}", "r")


# What the stream holds: two numbers were handed out twice, one of a chat and one of a message.
STREAM = [
    chat(2, 1000),
    chat(1, 1001),
    message(2, 1, 1002),
    message(1, 1, 1003),
    message(2, 2, 1004),
    message(2, 2, 1005),
    message(1, 2, 1006),
    chat(2, 1007),
    chat(3, 1008),
    message(3, 1, 1009),
    message(1, 3, 1010),
]
WRONG_ENDS = """
SELECT chats.number FROM chats LEFT JOIN messages ON messages.id = last_message_id
WHERE highest_number <> coalesce(messages.number, 0) OR highest_number <>
    (SELECT coalesce(max(number), 0) FROM messages WHERE chat_id = chats.id)
"""
WRONG_CHANGES = """
SELECT chats.number FROM chats WHERE changes <> 0 AND
    (SELECT array_agg(change ORDER BY change) FROM messages WHERE chat_id = chats.id AND change > 0)
    IS DISTINCT FROM (SELECT array_agg(n) FROM generate_series(1, changes) AS n)
"""
SLACK_TOO_SMALL = """
SELECT chats.number FROM chats
JOIN messages earlier ON earlier.chat_id = chats.id
JOIN messages later ON later.chat_id = chats.id AND later.number > earlier.number
WHERE earlier.created_at - later.created_at
    > coalesce(time_slack, 0) * interval '1 millisecond'
"""


class Persister(threading.Thread):
    """Stores a batch, waiting for its turn before each statement and before the commit."""

    def __init__(self, database: str, entries: Sequence[Entry]) -> None:
        super().__init__(daemon=True)
        self.entries = entries
        self.connection = SteppedConnection.connect(database, autocommit=True)
        self.connection.before_statement = self.wait_for_turn
        self.backend = self.connection.info.backend_pid
        self.turn = threading.Semaphore(0)
        self.waits = threading.Event()
        self.error: Exception | None = None

    def run(self) -> None:
        from crud_service.persist.store import store

        try:
            with self.connection:
                store(self.connection, self.entries)
        except Exception as error:
            self.error = error

    def wait_for_turn(self) -> None:
        self.waits.set()
        assert self.turn.acquire(timeout=STUCK_SECONDS)

    def step(self, is_blocked: Callable[["Persister"], bool]) -> None:
        """Let it run to its next statement, its end or a lock; no-op if it waits for a lock."""
        if self.waits.is_set():
            self.waits.clear()
            self.turn.release()
        while self.is_alive() and not self.waits.wait(0.002) and not is_blocked(self):
            pass


class SteppedConnection(psycopg.Connection[Any]):
    """A connection that waits for its turn before each statement and each commit."""

    before_statement: Callable[[], None]

    @contextmanager
    def transaction(
        self, savepoint_name: str | None = None, force_rollback: bool = False
    ) -> Iterator[psycopg.Transaction]:
        with super().transaction(savepoint_name, force_rollback) as transaction:
            yield transaction
            self.before_statement()


class SteppedCursor(psycopg.Cursor[Any]):
    def execute(self, *args: Any, **options: Any) -> Any:
        if isinstance(self.connection, SteppedConnection):
            self.connection.before_statement()
        return super().execute(*args, **options)

    def executemany(self, *args: Any, **options: Any) -> Any:
        if isinstance(self.connection, SteppedConnection):
            self.connection.before_statement()
        return super().executemany(*args, **options)


def interleave(
    database: str,
    observer: psycopg.Connection[Any],
    batches: Sequence[Sequence[Entry]],
    turns: Sequence[int],
) -> None:
    """Store batches concurrently, in the given turns and then alternating."""

    def is_blocked(persister: Persister) -> bool:
        blocked = "SELECT cardinality(pg_blocking_pids(%s)) > 0"
        return bool(query(observer, blocked, persister.backend)[0][0])

    persisters = [Persister(database, entries) for entries in batches]
    for persister in persisters:
        persister.start()
        assert persister.waits.wait(STUCK_SECONDS)
    for turn in chain(turns, *repeat((0, 1), 50)):
        persisters[turn].step(is_blocked)
    for persister in persisters:
        persister.join(STUCK_SECONDS)
        assert not persister.is_alive()
        if persister.error:
            raise persister.error


@pytest.fixture
def stepped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psycopg, "Cursor", SteppedCursor)


@pytest.fixture
def observer(database: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection for everything but the persisters' work."""
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection


def start_anew(observer: psycopg.Connection[Any]) -> None:
    """Leave nothing but an application; there are too few rows to truncate the tables."""
    for table in ("messages", "chats", "applications", "conflicts", "search_outbox"):
        query(observer, f"DELETE FROM {table}")
    make_application(observer)


positions = st.integers(0, len(STREAM))


@given(
    turns=st.lists(st.integers(0, 1), max_size=16), ends=st.tuples(positions, positions, positions)
)
@settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_two_persisters_that_interleave_leave_everything_exact(
    database: str,
    observer: psycopg.Connection[Any],
    stepped: None,
    turns: list[int],
    ends: tuple[int, int, int],
) -> None:
    start_anew(observer)
    # The one that was frozen has the oldest entries; the other may have stored some and gone on.
    start, end, other_end = sorted(ends)
    frozen, other = STREAM[:end], STREAM[start:other_end]
    interleave(database, observer, [frozen, other], turns)
    stored = query(
        observer, "SELECT c.number, m.number FROM messages m JOIN chats c ON c.id = m.chat_id"
    )
    kept = query(observer, "SELECT coalesce(chat_number, 0), number FROM conflicts")
    entries = STREAM[:other_end]
    messages = [(each.chat_number, each.number) for each in entries if not each.is_chat]
    of_messages = [number for number in kept if number[0]]
    assert sorted(stored + of_messages) == sorted(messages)
    assert len(set(stored)) == len(stored)
    chats = [each.number for each in entries if each.is_chat]
    made = [number for (number,) in query(observer, "SELECT number FROM chats")]
    of_chats = [number for chat_number, number in kept if not chat_number]
    assert set(made) == set(chats)
    assert sorted(made + of_chats) == sorted(chats)
    assert counts_that_differ(observer) == []
    outbox = query(observer, "SELECT chat_id, number FROM search_outbox")
    assert sorted(outbox) == sorted(query(observer, "SELECT chat_id, number FROM messages"))
    assert query(observer, WRONG_ENDS) == []
    assert query(observer, WRONG_CHANGES) == []
    if start == 0:  # both began with the oldest entry, so nothing is stored out of order
        assert query(observer, "SELECT number FROM chats WHERE changes > 0") == []


@given(turns=st.lists(st.integers(0, 1), max_size=16), order=st.permutations(range(4)))
@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_two_persisters_that_interleave_miss_no_fall_of_the_times(
    database: str,
    observer: psycopg.Connection[Any],
    stepped: None,
    turns: list[int],
    order: list[int],
) -> None:
    start_anew(observer)
    falling = [message(1, 1, 9000), message(1, 2, 3000), message(1, 3, 8000), message(1, 4, 1000)]
    entries = [falling[position] for position in order]
    interleave(database, observer, [entries[:2], entries[2:]], turns)
    assert query(observer, "SELECT message_count FROM chats") == [(4,)]
    assert query(observer, SLACK_TOO_SMALL) == []
