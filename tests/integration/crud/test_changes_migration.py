"""Migrations on tables with rows, while others read and write, above all that of changes."""

import pkgutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module

import psycopg
import pytest

from crud_service.chat import migrations as chat_migrations
from local_stack.stack import Stores
from tests.conftest import own_database
from tests.integration.crud.migrator import Migrator
from tests.polling import wait_until

Migrate = Callable[[str], None]

BEFORE = "0007_conflicts_of_chats"
NOW = "0010_active_chats"
# The long query goes on for as long as the test wants: nobody is to wait for its end. A busy
# machine alone delays a statement by a second or two.
PATIENCE_SECONDS = 10.0
COLUMNS = "SELECT changes, highest_number, last_message_id FROM chats"
INDEXES = "SELECT indexrelid::regclass::text FROM pg_index WHERE indisvalid"
OURS = {"chats_activity_idx", "messages_change_idx"}
WRONG_ENDS = """
SELECT count(*) FROM chats LEFT JOIN LATERAL (
    SELECT id, number FROM messages WHERE chat_id = chats.id ORDER BY number DESC LIMIT 1
) AS last ON true
WHERE (highest_number, last_message_id) <> (coalesce(last.number, 0), coalesce(last.id, 0))
"""


ROWS = """
INSERT INTO applications (access_token, name) VALUES ('first', 'x'), ('second', 'x');
INSERT INTO chats (application_id, number)
SELECT id, n FROM applications, generate_series(1, 2500) n;
INSERT INTO messages (chat_id, number, body)
SELECT id, n, 'message' FROM chats, generate_series(1, 8) n WHERE id % 5 <> 0;
-- A number that is missing, and one that was stored after a higher one.
DELETE FROM messages WHERE chat_id = 1 AND number IN (7, 8);
INSERT INTO messages (chat_id, number, body) VALUES (1, 7, 'late');
"""


@pytest.fixture(scope="module")
def migrator(stores: Stores) -> Iterator[Migrator]:
    with Migrator(stores) as running:
        yield running


@pytest.fixture(scope="module")
def template(stores: Stores, migrator: Migrator) -> Iterator[str]:
    """The name of a database of the version before, with rows of it."""
    with own_database(stores, "template1") as url:
        migrator.migrate(url, BEFORE)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(ROWS)
        yield url.rpartition("/")[2]


@pytest.fixture
def database_url(stores: Stores, template: str) -> Iterator[str]:
    """A database of the version before, of the test's own."""
    with own_database(stores, template) as url:
        yield url


@pytest.fixture
def migrate(migrator: Migrator, database_url: str) -> Migrate:
    """Migrates `database_url` to a version."""
    return partial(migrator.migrate, database_url)


@pytest.fixture
def old(database_url: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """A connection to the database of the version before."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def column(connection: psycopg.Connection[tuple[object, ...]], sql: str) -> list[object]:
    return [value for (value, *_) in connection.execute(sql).fetchall()]


def test_chats_with_messages_know_where_they_end(
    migrate: Migrate, old: psycopg.Connection[tuple[object, ...]]
) -> None:
    migrate(NOW)
    assert column(old, WRONG_ENDS) == [0]
    assert column(old, "SELECT highest_number FROM chats WHERE id IN (1, 2, 5) ORDER BY id") == [
        7,
        8,
        0,
    ]
    assert column(old, "SELECT count(*) FROM messages WHERE change > 0") == [0]
    assert set(column(old, INDEXES)) >= OURS
    old.execute("UPDATE messages SET body = 'x' WHERE chat_id = 2 AND number = 3")
    assert column(old, "SELECT change FROM messages WHERE chat_id = 2 AND number = 3") == [1]


def test_it_can_be_undone_and_done_again(
    migrate: Migrate, old: psycopg.Connection[tuple[object, ...]]
) -> None:
    migrate(NOW)
    migrate(BEFORE)
    with pytest.raises(psycopg.errors.UndefinedColumn):
        old.execute(COLUMNS)
    assert not OURS & set(column(old, INDEXES))
    old.execute("UPDATE messages SET body = 'x' WHERE chat_id = 2 AND number = 3")
    migrate(NOW)
    assert column(old, WRONG_ENDS) == [0]


def test_an_interrupted_attempt_is_continued(
    migrate: Migrate, old: psycopg.Connection[tuple[object, ...]]
) -> None:
    """What an attempt leaves behind: its columns, some ends, and indexes that are invalid."""
    migrate(NOW)
    old.execute("UPDATE chats SET highest_number = 0, last_message_id = 0 WHERE id > 2000")
    invalidate = "UPDATE pg_index SET indisvalid = false WHERE indexrelid = %s::regclass"
    for index in OURS:
        old.execute(invalidate, (index,))
    old.execute("DELETE FROM django_migrations WHERE app = 'chat' AND name > %s", (BEFORE,))
    migrate(NOW)
    assert column(old, WRONG_ENDS) == [0]
    assert set(column(old, INDEXES)) >= OURS


def test_each_migration_without_a_transaction_can_be_repeated_after_an_interruption(
    migrate: Migrate, old: psycopg.Connection[tuple[object, ...]]
) -> None:
    """The latest point at which it may be killed: all is done, and nothing says so."""
    versions = [module.name for module in pkgutil.iter_modules(chat_migrations.__path__)]
    modules = {name: import_module(f"{chat_migrations.__name__}.{name}") for name in versions}
    repeated = [it for it in sorted(versions) if it > BEFORE and not modules[it].Migration.atomic]
    assert len(repeated) > 5
    for version in repeated:
        migrate(version)
        old.execute("DELETE FROM django_migrations WHERE app = 'chat' AND name = %s", (version,))
        migrate(version)


class Traffic:
    """Reads and writes of both tables, and how long the slowest of them took."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.slowest = 0.0
        self.rounds = 0
        self.error: Exception | None = None
        self.ended = threading.Event()

    def run(self) -> None:
        try:
            with psycopg.connect(self.url, autocommit=True) as connection:
                while not self.ended.is_set():
                    self.once(connection)
        except psycopg.Error as error:
            self.error = error

    def once(self, connection: psycopg.Connection[tuple[object, ...]]) -> None:
        started = time.monotonic()
        with connection.transaction():
            connection.execute("SELECT count(*) FROM applications")
            connection.execute("SELECT count(*) FROM messages WHERE chat_id = 4")
            connection.execute("UPDATE messages SET body = body || '.' WHERE chat_id = 4")
            connection.execute("UPDATE chats SET message_count = message_count + 1 WHERE id = 4")
        self.slowest = max(self.slowest, time.monotonic() - started)
        self.rounds += 1
        time.sleep(0.005)


@contextmanager
def traffic(url: str) -> Iterator[Traffic]:
    running = Traffic(url)
    thread = threading.Thread(target=running.run)
    thread.start()
    try:
        yield running
    finally:
        running.ended.set()
        thread.join()


@pytest.mark.parametrize(
    ("before", "version", "table"),
    [
        (BEFORE, NOW, "chats"),
        (BEFORE, NOW, "messages"),
        (NOW, "0011_rate_limits", "applications"),
        ("0012_imports", "0013_attributes", "messages"),
        ("0013_attributes", "0014_deleting", "applications"),
        ("0024_places_of_the_deleted", "0025_triggers_of_changes", "messages"),
    ],
)
def test_nobody_waits_for_a_migration_while_it_waits_for_a_long_query(
    migrate: Migrate,
    old: psycopg.Connection[tuple[object, ...]],
    database_url: str,
    before: str,
    version: str,
    table: str,
) -> None:
    """An exclusive lock that waits lets nobody pass: so it must not wait for long."""
    if before != BEFORE:
        migrate(before)
    attempts = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND NOT granted"
    with traffic(database_url) as seen, psycopg.connect(database_url) as query:
        query.execute(f"SELECT count(*) FROM {table}")  # and its transaction goes on
        migrating = threading.Thread(target=migrate, args=(version,))
        migrating.start()
        for _ in range(3):
            wait_until(lambda: column(old, attempts) == [1], 30, pause=0.002)
            wait_until(lambda: column(old, attempts) == [0], 30, pause=0.002)
        rounds = seen.rounds
        wait_until(lambda: seen.rounds > rounds + 20, 30)
        assert migrating.is_alive()
        query.rollback()
        migrating.join()
    assert seen.error is None
    assert seen.slowest < PATIENCE_SECONDS
    assert column(old, "SELECT highest_number FROM chats WHERE id = 4") == [8]
    assert set(column(old, INDEXES)) >= OURS
    applied = "SELECT max(name) FROM django_migrations WHERE app = 'chat'"
    assert column(old, applied) == [version]


def test_exclusive_locks_are_held_for_moments_whatever_the_size_of_the_tables(
    migrate: Migrate, old: psycopg.Connection[tuple[object, ...]], database_url: str
) -> None:
    """Neither table is rewritten: its file stays the same."""
    files = "SELECT relfilenode FROM pg_class WHERE relname IN ('chats', 'messages') ORDER BY 1"
    before = column(old, files)
    with traffic(database_url) as seen:
        migrate(NOW)
    assert seen.error is None
    assert seen.rounds > 5
    assert seen.slowest < PATIENCE_SECONDS
    assert column(old, files) == before
    assert column(old, WRONG_ENDS) == [0]
