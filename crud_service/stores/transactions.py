"""Writes with a known outcome: if the answer to a COMMIT is lost, ask PostgreSQL for the status.

If the connection dies after COMMIT was sent, the change may or may not be
committed. A blind retry could find its own change and take it for a concurrent
one, so the transaction's status is looked up on a new connection first.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from typing import Any, Generic, NamedTuple, TypeVar

import psycopg
from psycopg.errors import ReadOnlySqlTransaction

from crud_service.stores.connection_pool import FAILURES, SLOW_FAILURE_SECONDS, close_unless_idle
from crud_service.stores.database import Connection, connect, log_failure, take_idle, use
from web.problems import StoreUnavailable

T = TypeVar("T")

LOOK_UP_SECONDS = 3.0
LOOK_SECONDS = 0.05
# A standby that is promoted gives ids again that its primary gave to transactions it never got: an
# id means something on its own timeline only. Reading a log position fails on a standby.
TIMELINE = "left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)"
# What a change reads before COMMIT, and `look_up` takes.
TRANSACTION = f"{TIMELINE} || '/' || pg_current_xact_id()::text"
STATUS = f"SELECT CASE {TIMELINE} WHEN %s THEN pg_xact_status(%s::xid8) END"
# Writes to PostgreSQL's log and nowhere else. Its commit waits until all earlier commits are as
# safe as configured. That they are visible does not say so: one that waits for a synchronous
# standby becomes visible without it if its server process is ended, or PostgreSQL restarts.
SECURE = "SELECT pg_logical_emit_message(true, 'chat', '')"


class Written(NamedTuple, Generic[T]):
    """A result, and the TRANSACTION it depends on; None if nothing was written."""

    result: T
    transaction_id: bytes | None


class Outcome(Enum):
    COMMITTED = b"committed"
    ABORTED = b"aborted"
    UNKNOWN = b""


class ConnectionLostError(Exception):
    """A connection died, and its uncommitted changes were lost."""


class CommitLostError(Exception):
    """The connection died before COMMIT was answered."""

    def __init__(self, written: Written[Any]) -> None:
        super().__init__()
        self.written = written


def change(work: Callable[[Connection], Written[T]]) -> T:
    """Run `work` in a transaction; retry once if the first attempt was lost.

    Raises StoreUnavailable. Its detail says that nothing was changed only if that is certain.
    """
    started = time.monotonic()
    connection = take_idle()
    for is_last in (False, True):
        try:
            return _attempt(connection or connect(), work)
        except psycopg.OperationalError as error:
            raise nothing_changed(error) from error
        except ConnectionLostError as error:
            if is_last or time.monotonic() - started > SLOW_FAILURE_SECONDS:
                raise nothing_changed(error) from error
        connection = None
    raise AssertionError("the last try returns or raises")


def _attempt(connection: Connection, work: Callable[[Connection], Written[T]]) -> T:
    """Run `work` once; raise ConnectionLostError if a dead connection lost the change."""
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
            log_failure(lost.__cause__ or lost)
            raise StoreUnavailable.outcome_unknown() from lost
        raise ConnectionLostError from lost.__cause__
    except ReadOnlySqlTransaction as error:  # its connection was closed on purpose, and not lost
        raise nothing_changed(error) from error
    except FAILURES as error:
        # Without a COMMIT nothing has changed: PostgreSQL rolls back when a client dies.
        if connection.closed:
            raise ConnectionLostError from error
        raise nothing_changed(error) from error


def nothing_changed(error: Exception) -> StoreUnavailable:
    """Log why a change was not made, and return the problem that says that it was not."""
    log_failure(error.__cause__ or error)
    return StoreUnavailable.nothing_changed()


def _commit(connection: Connection, work: Callable[[Connection], Written[T]]) -> Written[T]:
    written: Written[T] | None = None
    try:
        with connection.transaction():
            written = work(connection)
    except FAILURES as error:
        close_unless_idle(connection)
        if written is None or not connection.closed:
            raise
        raise CommitLostError(written) from error
    return written


def look_up(transaction_id: bytes) -> Outcome:
    """Return a transaction's outcome; UNKNOWN if it is not settled within LOOK_UP_SECONDS.

    It stays in progress until its backend has noticed that the client disconnected, and while it
    waits for a synchronous standby. It is committed once that is as safe as configured. After a
    fail-over it is unknown. `transaction_id` is what TRANSACTION returned in it.
    """
    deadline = time.monotonic() + LOOK_UP_SECONDS
    while time.monotonic() < deadline:
        # It fails if PostgreSQL is unavailable at the moment, or never saw the id.
        with suppress(psycopg.Error):
            return use(connect(), lambda it: _wait_for_outcome(it, transaction_id, deadline))
        time.sleep(LOOK_SECONDS)
    return Outcome.UNKNOWN


def _wait_for_outcome(connection: Connection, transaction_id: bytes, deadline: float) -> Outcome:
    try:
        while time.monotonic() < deadline:
            row = connection.execute(STATUS, transaction_id.decode().split("/")).fetchone()
            status = row[0] if row is not None else None
            if status == Outcome.COMMITTED.value:
                connection.execute(SECURE)
            if status != b"in progress":
                return Outcome(status or b"")
            time.sleep(LOOK_SECONDS)
    except psycopg.Error:
        # Each attempt would leave another connection in the pool.
        connection.close()
        raise
    return Outcome.UNKNOWN
