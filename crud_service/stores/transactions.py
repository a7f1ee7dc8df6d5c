"""Changes whose outcome is known: when the answer to a COMMIT is lost, PostgreSQL is asked for it.

A connection that dies behind a COMMIT leaves open whether the change went
through. Running it again would meet its own change and take it for somebody
else's, so the transaction's status is looked up on a fresh connection first.
"""

import time
from collections.abc import Callable
from enum import Enum
from typing import Any, Generic, NamedTuple, TypeVar

import psycopg

from crud_service.stores.database import (
    SLOW_FAILURE_SECONDS,
    Connection,
    ConnectionLostError,
    close_idle,
    connect,
    take_idle,
    use,
)
from web.problems import StoreUnavailable

T = TypeVar("T")

LOOK_UP_SECONDS = 3.0
LOOK_SECONDS = 0.05
STATUS = "SELECT pg_xact_status(%s::xid8)"


class Written(NamedTuple, Generic[T]):
    """A result, and the transaction that it stands or falls with; None when nothing was written."""

    result: T
    transaction_id: bytes | None


class Outcome(Enum):
    """What became of a transaction."""

    COMMITTED = b"committed"
    ABORTED = b"aborted"
    UNKNOWN = b""


class CommitLostError(Exception):
    """The connection died between a COMMIT and its answer."""

    def __init__(self, written: Written[Any]) -> None:
        super().__init__()
        self.written = written


def change(work: Callable[[Connection], Written[T]]) -> T:
    """Run `work` in a transaction, once more when PostgreSQL has forgotten the first try.

    Raises StoreUnavailable. Its detail says that nothing was changed only where that is known.
    """
    started = time.monotonic()
    connection = take_idle()
    for is_last in (False, True):
        try:
            return _attempt(connection or connect(), work)
        except psycopg.OperationalError as error:
            raise StoreUnavailable.nothing_changed() from error
        except ConnectionLostError as error:
            if is_last or time.monotonic() - started > SLOW_FAILURE_SECONDS:
                raise StoreUnavailable.nothing_changed() from error
        connection = None
    raise AssertionError("the last try returns or raises")


def _attempt(connection: Connection, work: Callable[[Connection], Written[T]]) -> T:
    """Run `work`; raises ConnectionLostError when a dead connection took the change with it."""
    try:
        return use(connection, lambda it: _commit(it, work)).result
    except CommitLostError as lost:
        written: Written[T] = lost.written
        if written.transaction_id is None:
            return written.result
        outcome = look_up(written.transaction_id)
        if outcome is Outcome.COMMITTED:
            return written.result
        if outcome is Outcome.UNKNOWN:
            raise StoreUnavailable.outcome_unknown() from lost
        raise ConnectionLostError from lost
    except psycopg.errors.ReadOnlySqlTransaction as error:
        # A primary that became a standby meanwhile: the next request looks for the new one.
        connection.close()
        close_idle()
        raise StoreUnavailable.nothing_changed() from error
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        # Without a COMMIT there is no change: PostgreSQL rolls back what a dead client left.
        if connection.closed:
            raise ConnectionLostError from error
        raise StoreUnavailable.nothing_changed() from error


def _commit(connection: Connection, work: Callable[[Connection], Written[T]]) -> Written[T]:
    written: Written[T] | None = None
    try:
        with connection.transaction():
            written = work(connection)
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        if written is None or not connection.closed:
            raise
        raise CommitLostError(written) from error
    return written


def look_up(transaction_id: bytes) -> Outcome:
    """What became of a transaction, as far as PostgreSQL tells within a few seconds.

    It stays in progress until its backend has noticed that the client is gone.
    """
    sought = (transaction_id.decode(),)
    deadline = time.monotonic() + LOOK_UP_SECONDS
    while time.monotonic() < deadline:
        try:
            row = use(connect(), lambda it: it.execute(STATUS, sought).fetchone())
        except psycopg.Error:
            row = None  # unavailable for the moment, or another server that never knew it
        if row is not None and row[0] != b"in progress":
            return Outcome(row[0]) if row[0] else Outcome.UNKNOWN
        time.sleep(LOOK_SECONDS)
    return Outcome.UNKNOWN
