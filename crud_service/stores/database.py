"""Connections to PostgreSQL on the API's path: taken by a request, the last one used first.

There are never more than the server has threads, so nobody waits for one.
Nothing reconnects in the background, with pauses that grow: PostgreSQL away is
a refused connection and a 503 in a millisecond, and PostgreSQL back is found by
the very next request. The ORM, which the admin uses, has connections of its own.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from django.conf import settings
from psycopg.abc import Buffer, Params
from psycopg.adapt import Loader

from crud_service.stores.overdue import begin, end
from web.problems import StoreUnavailable

T = TypeVar("T")


class ConnectionLostError(Exception):
    """A connection died, and with it what was not committed."""


Connection = psycopg.Connection[tuple[Any, ...]]

CONNECT_TIMEOUT_SECONDS = 2
PAUSE_SECONDS = 1.0
SLOW_FAILURE_SECONDS = 0.5

# Statements here take milliseconds: compiling them, or starting workers, takes longer.
# So does planning: each has one good plan whatever its values are, but PostgreSQL
# takes that of a page for dear in a large table, and would plan every page anew.
OPTIONS = (
    "-c TimeZone=UTC -c statement_timeout=4s -c lock_timeout=3s"
    " -c jit=off -c max_parallel_workers_per_gather=0 -c plan_cache_mode=force_generic_plan"
    # A link that breaks in the middle of an update must not leave a row locked: the
    # persister needs some of them.
    " -c idle_in_transaction_session_timeout=10s"
)
PARAMETERS: dict[str, Any] = {
    "autocommit": True,
    "connect_timeout": CONNECT_TIMEOUT_SECONDS,
    "tcp_user_timeout": 5000,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "application_name": "crud_service",
    "options": OPTIONS,
}

# Appending to a list and popping from it are atomic; nothing else is done with it.
_idle: list[Connection] = []


class Pause:
    """After a connection attempt that ran into its time-out nobody tries for a while.

    Otherwise everybody would be waiting for a host that is gone.
    """

    def __init__(self) -> None:
        self._until = 0.0

    @contextmanager
    def connecting(self) -> Iterator[None]:
        """Try to connect within; raises OperationalError at once during a pause."""
        started = time.monotonic()
        if started < self._until:
            raise psycopg.OperationalError("PostgreSQL did not answer a moment ago")
        try:
            yield
        except psycopg.OperationalError:
            if time.monotonic() - started > SLOW_FAILURE_SECONDS:
                self._until = time.monotonic() + PAUSE_SECONDS
            raise


_pause = Pause()


class BytesLoader(Loader):
    """Text as the bytes that came: it is JSON in UTF-8 on its way to a client."""

    def load(self, data: Buffer) -> bytes:
        return bytes(data)


def connect() -> Connection:
    """A fresh connection."""
    with _pause.connecting():
        connection = psycopg.connect(settings.DATABASE_URL, **PARAMETERS)
    connection.prepare_threshold = 2
    connection.adapters.register_loader("text", BytesLoader)
    return connection


def run(work: Callable[[Connection], T]) -> T:
    """Read on a connection; raises StoreUnavailable without PostgreSQL.

    `work` is run once more, on a fresh connection, when the connection turns
    out to be dead: what changes something belongs into `transactions.change`.
    """
    started = time.monotonic()
    try:
        connection = take_idle()
        if connection is not None:
            try:
                return use(connection, work)
            except (psycopg.OperationalError, psycopg.InterfaceError):
                if not connection.closed or time.monotonic() - started > SLOW_FAILURE_SECONDS:
                    raise
        return use(connect(), work)
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise StoreUnavailable from error


def take_idle() -> Connection | None:
    """A connection that was used before, if there is one."""
    try:
        return _idle.pop()
    except IndexError:
        return None


def use(connection: Connection, work: Callable[[Connection], T]) -> T:
    """Run statements on a connection, and keep it while it is good."""
    begin(connection)
    try:
        return work(connection)
    finally:
        end(connection)
        if not connection.closed:
            _idle.append(connection)


def close_idle() -> None:
    """Close the connections that nobody uses."""
    while (connection := take_idle()) is not None:
        connection.close()


def fetch_one(sql: str, parameters: Params = ()) -> tuple[Any, ...] | None:
    """The only row of a statement, if there is one; the statement may be run twice."""
    return run(lambda connection: connection.execute(sql, parameters).fetchone())
