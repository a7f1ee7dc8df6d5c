"""A LIFO pool of connections to one PostgreSQL server, for API requests.

There are never more connections than server threads, so no request waits for one.
There is no background reconnect with exponential back-off: while PostgreSQL is
down, a refused connection is an error within a millisecond, and the first request
after its return succeeds.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.errors import (
    IdleInTransactionSessionTimeout,
    InsufficientPrivilege,
    ReadOnlySqlTransaction,
    TransactionTimeout,
    UndefinedTable,
)
from psycopg.pq import TransactionStatus

from crud_service.postgresql import REQUESTS
from crud_service.stores.overdue import begin, end

T = TypeVar("T")

Connection = psycopg.Connection[tuple[Any, ...]]

# What a session is refused that a new one may be granted: it began while its role lacked privileges
# or found no tables.
DENIED = (InsufficientPrivilege, UndefinedTable)
# What psycopg raises when the server cannot do what it is asked at the moment. Other errors of the
# kinds of these, InternalError and ProgrammingError, are defects, of ours or of PostgreSQL's files.
FAILURES = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    *DENIED,
    ReadOnlySqlTransaction,
    IdleInTransactionSessionTimeout,
    TransactionTimeout,
)
PAUSE_SECONDS = 1.0
SLOW_FAILURE_SECONDS = 0.5


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


class BytesLoader(Loader):
    """Load text as bytes, undecoded: it is UTF-8 JSON to be sent to the client."""

    def load(self, data: Buffer) -> bytes:
        return bytes(data)


def close_unless_idle(connection: Connection) -> None:
    """Close a connection that waits for the answer to a command, or is in a transaction.

    If a reset reaches a socket in the instant before psycopg waits for it, psycopg raises an
    OperationalError and leaves the connection open: every further command would fail.
    """
    if connection.info.transaction_status is not TransactionStatus.IDLE:
        connection.close()


class ConnectionPool:
    """Connections to the server at a URL, which is asked for with each new connection."""

    def __init__(self, url: Callable[[], str]) -> None:
        self._url = url
        self._pause = Pause()
        # A stack without a lock: append and pop are atomic, and nothing else touches it.
        self._idle: list[Connection] = []

    def connect(self) -> Connection:
        """Return a new connection; raises OperationalError, at once during a pause."""
        with self._pause.connecting():
            connection = psycopg.connect(self._url(), autocommit=True, **REQUESTS)
        connection.prepare_threshold = 2
        connection.adapters.register_loader("text", BytesLoader)
        return connection

    def run(self, work: Callable[[Connection], T]) -> T:
        """Run a read; if the connection turns out to be of no use, run it again on a new one.

        Raises one of FAILURES.
        """
        started = time.monotonic()
        connection = self.take_idle()
        if connection is not None:
            try:
                return self.use(connection, work)
            except FAILURES:
                if not connection.closed or time.monotonic() - started > SLOW_FAILURE_SECONDS:
                    raise
        return self.use(self.connect(), work)

    def take_idle(self) -> Connection | None:
        """Pop the most recently used idle connection, if there is one."""
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def use(self, connection: Connection, work: Callable[[Connection], T]) -> T:
        """Run `work` on a connection, then return it to the pool if it is still of use."""
        begin(connection)
        try:
            return work(connection)
        except DENIED:
            connection.close()
            raise
        except ReadOnlySqlTransaction:
            # The primary has become a standby: the next request connects anew to find the new one.
            connection.close()
            self.close_idle()
            raise
        finally:
            end(connection)
            close_unless_idle(connection)
            if not connection.closed:
                self._idle.append(connection)

    def close_idle(self) -> None:
        """Close the connections that no thread uses at the moment."""
        while (connection := self.take_idle()) is not None:
            connection.close()
