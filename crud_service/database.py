"""Connections to PostgreSQL on the API's path: a few slots, of which a request takes one.

As many as the server has threads, so that nobody waits for one; and they
outlive the threads, which the server ends when it has nothing to do. Nothing
reconnects in the background, with pauses that grow: PostgreSQL away is a
refused connection and a 503 in a millisecond, and PostgreSQL back is found by
the very next request. The ORM, which the admin uses, has connections of its own.
"""

import queue
import time
from collections.abc import Callable
from typing import Any, TypeVar

import psycopg
from django.conf import settings
from psycopg.abc import Buffer, Params
from psycopg.adapt import Loader

from contract.problems import StoreUnavailable
from crud_service.slow_clients import THREADS

T = TypeVar("T")
Connection = psycopg.Connection[tuple[Any, ...]]

CONNECT_TIMEOUT_SECONDS = 2
# After a connection attempt that ran into its time-out nobody tries for this long:
# otherwise every thread of the server would be waiting for a host that is gone.
PAUSE_SECONDS = 1.0
SLOW_FAILURE_SECONDS = 0.5

# Statements here take milliseconds: compiling them, or starting workers, takes longer.
OPTIONS = (
    "-c TimeZone=UTC -c statement_timeout=15s -c lock_timeout=5s"
    " -c jit=off -c max_parallel_workers_per_gather=0"
)

SLOTS = THREADS
# Statements end after 15 seconds at most; who has waited this long is better told so.
SLOT_TIMEOUT_SECONDS = 3.0

_slots: "queue.SimpleQueue[Connection | None]" = queue.SimpleQueue()
for _ in range(SLOTS):
    _slots.put(None)
_away_until = 0.0


class BytesLoader(Loader):
    """Text as the bytes that came: it is JSON in UTF-8 on its way to a client."""

    def load(self, data: Buffer) -> bytes:
        return bytes(data)


def connect() -> Connection:
    """A fresh connection."""
    global _away_until
    started = time.monotonic()
    if started < _away_until:
        raise psycopg.OperationalError("PostgreSQL did not answer a moment ago")
    try:
        connection = psycopg.connect(
            settings.DATABASE_URL,
            autocommit=True,
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            tcp_user_timeout=5000,
            keepalives_idle=5,
            keepalives_interval=2,
            keepalives_count=3,
            application_name="crud_service",
            options=OPTIONS,
        )
    except psycopg.OperationalError:
        if time.monotonic() - started > SLOW_FAILURE_SECONDS:
            _away_until = time.monotonic() + PAUSE_SECONDS
        raise
    connection.prepare_threshold = 2
    connection.adapters.register_loader("text", BytesLoader)
    return connection


def run(work: Callable[[Connection], T]) -> T:
    """Run statements on a connection; raises StoreUnavailable without PostgreSQL.

    `work` is run once more, on a fresh connection, when the connection turns
    out to be dead: it must therefore have no effect the second time.
    """
    try:
        connection = _slots.get(timeout=SLOT_TIMEOUT_SECONDS)
    except queue.Empty as error:
        raise StoreUnavailable from error
    try:
        if connection is not None and not connection.closed:
            try:
                return work(connection)
            except (psycopg.OperationalError, psycopg.InterfaceError):
                if not connection.closed:
                    raise
        connection = None
        connection = connect()
        return work(connection)
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise StoreUnavailable from error
    finally:
        _slots.put(connection)


def fetch_one(sql: str, parameters: Params = ()) -> tuple[Any, ...] | None:
    """The only row of a statement, if there is one; the statement may be run twice."""
    return run(lambda connection: connection.execute(sql, parameters).fetchone())
