"""What the worker does now and then, in threads of their own."""

import threading

import pytest

from crud_service.stores.database import Connection
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
