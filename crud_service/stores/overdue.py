"""A watchdog that enforces a client-side timeout on PostgreSQL statements.

A frozen server, or a network that drops packets, neither answers nor closes the
connection, and psycopg would wait without limit: one such moment would take every
thread. So the watchdog shuts down the sockets of overdue connections; the waiting
thread gets an error at once, and the client a 503.
"""

import os
import socket
import threading
import time
from contextlib import suppress
from functools import cache
from typing import Any

import psycopg

LIMIT_SECONDS = 4.0
# Of the worker, which has time: longer than any statement_timeout of `crud_service.postgresql`.
WORKER_LIMIT_SECONDS = 70.0
LOOK_SECONDS = 0.25

# When the work on each connection is overdue. Single dictionary operations are atomic.
_overdue_at: "dict[psycopg.Connection, float]" = {}


def begin(connection: psycopg.Connection, limit_seconds: float = LIMIT_SECONDS) -> None:
    """Watch a connection whose statement begins now, instead of any before it."""
    start_watching()
    _overdue_at[connection] = time.monotonic() + limit_seconds


def end(connection: psycopg.Connection) -> None:
    """Stop watching a connection: its statement has ended."""
    _overdue_at.pop(connection, None)


@cache
def start_watching() -> None:
    threading.Thread(target=_watch, name="overdue-statements", daemon=True).start()


def _watch() -> None:
    while True:
        time.sleep(LOOK_SECONDS)
        now = time.monotonic()
        for connection, overdue_at in list(_overdue_at.items()):
            if overdue_at < now:
                shut_down(connection)


def shut_down(connection: "psycopg.Connection | psycopg.AsyncConnection") -> None:
    """Shut down the connection's socket, which wakes the waiting reader, without closing it."""
    with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as it:
        it.shutdown(socket.SHUT_RDWR)


class WatchedConnection(psycopg.Connection[tuple[Any, ...]]):
    """A connection of the worker, each command of which is watched."""

    def wait(self, *args: Any, **options: Any) -> Any:
        begin(self, WORKER_LIMIT_SECONDS)
        try:
            return super().wait(*args, **options)
        finally:
            end(self)
