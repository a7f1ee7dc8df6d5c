"""A LIFO pool of PostgreSQL connections for API requests.

There are never more connections than server threads, so no request waits for one.
There is no background reconnect with exponential back-off: while PostgreSQL is
down, a refused connection is a 503 within a millisecond, and the first request
after its return succeeds. The ORM, used by the admin, has its own connections.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from django.conf import settings
from psycopg.abc import Buffer, Params
from psycopg.adapt import Loader

from crud_service.postgresql import REQUESTS
from crud_service.stores.overdue import begin, end
from web.problems import StoreUnavailable

T = TypeVar("T")


class ConnectionLostError(Exception):
    """A connection died, and its uncommitted changes were lost."""


Connection = psycopg.Connection[tuple[Any, ...]]

PAUSE_SECONDS = 1.0
SLOW_FAILURE_SECONDS = 0.5

# A stack without a lock: append and pop are atomic, and nothing else touches it.
_idle: list[Connection] = []


class Pause:
    """Blocks connection attempts for a while after one has timed out.

    Otherwise every request would wait for an unreachable host.
    """

    def __init__(self) -> None:
        self._until = 0.0

    @contextmanager
    def connecting(self) -> Iterator[None]:
        """Wrap a connection attempt; raise OperationalError at once during a pause."""
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
    """Load text as bytes, undecoded: it is UTF-8 JSON to be sent to the client."""

    def load(self, data: Buffer) -> bytes:
        return bytes(data)


def connect() -> Connection:
    """Return a new connection for requests; raises OperationalError, at once during a pause."""
    with _pause.connecting():
        connection = psycopg.connect(settings.DATABASE_URL, autocommit=True, **REQUESTS)
    connection.prepare_threshold = 2
    connection.adapters.register_loader("text", BytesLoader)
    return connection


def run(work: Callable[[Connection], T]) -> T:
    """Run a read on a connection; raise StoreUnavailable if PostgreSQL fails.

    If the connection turns out to be dead, `work` is retried once on a new one:
    writes belong in `transactions.change`.
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
    """Pop the most recently used idle connection, if there is one."""
    try:
        return _idle.pop()
    except IndexError:
        return None


def use(connection: Connection, work: Callable[[Connection], T]) -> T:
    """Run `work` on a connection, then return it to the pool unless it is closed."""
    begin(connection)
    try:
        return work(connection)
    finally:
        end(connection)
        if not connection.closed:
            _idle.append(connection)


def close_idle() -> None:
    """Close the connections that no thread uses at the moment."""
    while (connection := take_idle()) is not None:
        connection.close()


def fetch_one(sql: str, parameters: Params = ()) -> tuple[Any, ...] | None:
    """Return the first row of a statement, or None; the statement may run twice."""
    return run(lambda connection: connection.execute(sql, parameters).fetchone())


def fetch_value(sql: str, parameters: Params = ()) -> Any:
    """Return what a statement finds in one column of one row, None if it finds nothing."""
    (value,) = fetch_one(sql, parameters) or (None,)
    return value


def as_text(value: bytes | str) -> str:
    """Return a text as a string, which connections of the API load as bytes."""
    return value.decode() if isinstance(value, bytes) else value
