"""What the worker does now and then, in threads of their own."""

import threading

import psycopg
import pytest
from django.conf import settings

from crud_service.stores.database import Connection
from tests.integration.breakable import Breakable
from tests.integration.crud_rows import Database


def test_a_connection_that_died_while_idle_is_replaced_without_a_word(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    from crud_service.worker.chores import Chore, attend

    stopped = threading.Event()
    processes: list[int] = []

    def work(connection: Connection) -> None:
        ((process,),) = connection.execute("SELECT pg_backend_pid()").fetchall()
        processes.append(process)
        if len(processes) == 3:
            stopped.set()
        database.execute("SELECT pg_terminate_backend(%s, 10000)", (process,))

    attend(Chore("a chore", 0.01, work), stopped)
    assert len(set(processes)) == 3
    assert caplog.messages == []


def test_a_session_that_may_write_nothing_is_replaced(database: Database) -> None:
    """As one that began while its role had `default_transaction_read_only`."""
    from crud_service.worker.chores import Chore, attend

    stopped = threading.Event()
    sessions: list[int] = []

    def work(connection: Connection) -> None:
        sessions.append(connection.info.backend_pid)
        if len(sessions) == 1:
            connection.execute("SET default_transaction_read_only = on")
        if len(sessions) == 3:
            stopped.set()
        connection.execute("DELETE FROM deletions")

    attend(Chore("a chore", 0.01, work), stopped)
    assert sessions[0] != sessions[1] == sessions[2]


def test_a_connection_that_falls_silent_is_replaced(
    database: Database, clean_crud: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from crud_service.stores import overdue
    from crud_service.worker.chores import Chore, attend

    stopped = threading.Event()
    failures: list[psycopg.Error] = []
    monkeypatch.setattr(overdue, "WORKER_LIMIT_SECONDS", 0.5)
    with Breakable(clean_crud["DATABASE_URL"]) as postgres:
        monkeypatch.setattr(settings, "DATABASE_URL", postgres.url)

        def work(connection: Connection) -> None:
            postgres.frozen = not failures
            try:
                connection.execute("SELECT 1")
            except psycopg.Error as error:
                failures.append(error)
                postgres.frozen = False
            else:
                stopped.set()

        attending = threading.Thread(target=attend, args=(Chore("a chore", 0.01, work), stopped))
        attending.start()
        attending.join(20)
        is_replaced = not attending.is_alive()
        stopped.set()
    attending.join()
    assert is_replaced
