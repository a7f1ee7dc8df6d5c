"""Reads on a replica of PostgreSQL, as if it did not lag.

Before a read, the primary says up to which position its log is on disk; the replica answers once
it has replayed the log up to there. A change is on disk before it is answered, so the read sees
whatever was answered before it began, by any process (the read index of Raft). The primary has no
more to do for it than to say a number.

A replica that lags further than the time of PAUSES, or fails, is given up: all reads are the
primary's until a thread has seen that the replica keeps up again, so only a few requests wait.
"""

import logging
import threading
import time
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import psycopg
from django.conf import settings
from prometheus_client import Counter
from psycopg.abc import Params
from psycopg.errors import QueryCanceled

from crud_service.stores.connection_pool import DENIED, FAILURES, Connection, ConnectionPool
from crud_service.stores.database import fetch_value, log_failure, run
from crud_service.stores.overdue import begin
from web.problems import StoreUnavailable

logger = logging.getLogger(__name__)

T = TypeVar("T")

# NULL if the primary's address leads to a standby for the moment.
POSITION = "SELECT CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_flush_lsn()::text END"
# A server that was promoted, or is a primary by mistake, has a history of its own.
HAS_REPLAYED = "SELECT pg_is_in_recovery() AND pg_last_wal_replay_lsn() >= %s::pg_lsn"
# Between looks at a replica that lags: 63 ms in all.
PAUSES = (0.0, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032)
# For each look.
LIMIT_SECONDS = 0.5
# Before a replica that was given up is tried again.
RETRY_SECONDS = 1.0

READS = Counter(
    "chat_read_statements",
    "Statements of reads with DATABASE_READ_URL, by the server that answered: replica, primary.",
    ("server",),
    registry=None,
)


class BehindError(psycopg.OperationalError):
    """The replica has not replayed the log in time."""

    def __init__(self) -> None:
        super().__init__("the replica lags behind the primary")


class Replica:
    """Whether reads may use the replica: not until it has been seen to keep up."""

    def __init__(self, try_it: Callable[[], object], retry_seconds: float = RETRY_SECONDS) -> None:
        """`try_it` raises an error unless the replica keeps up; it is called in a thread."""
        self.is_usable = False
        self._try_it = try_it
        self._retry_seconds = retry_seconds
        self._last_logged: bool | None = None
        self._is_given_up = threading.Event()
        # Requests fail in many threads at the same moment, in which a trial may succeed.
        self._change = threading.Lock()
        threading.Thread(target=self._try_forever, name="replica", daemon=True).start()

    def give_up(self, error: Exception) -> None:
        """Use the replica no longer, until it keeps up again."""
        with self._change:
            self._is_given_up.set()
            self.is_usable = False
            if self._last_logged is not False:
                reason = str(error).partition("\n")[0]
                logger.warning("reads go to the primary", extra={"reason": reason})
            self._last_logged = False

    def _take_up(self) -> None:
        """Use the replica, unless a request has failed since the trial began."""
        with self._change:
            if not self._is_given_up.is_set():
                self.is_usable = self._last_logged = True
                logger.info("reads go to the replica")

    def _try_forever(self) -> None:
        while True:
            self._is_given_up.clear()
            try:
                self._try_it()
            except Exception as error:
                self.give_up(error)
            else:
                self._take_up()
                self._is_given_up.wait()
            time.sleep(self._retry_seconds)


def replica() -> Replica:
    """Return the replica at DATABASE_READ_URL; the first call has it tried."""
    with _making_replica:
        return _replica()


@cache
def _replica() -> Replica:
    return Replica(lambda: read_on_replica(lambda connection: None))


# `cache` alone would call the function once for each thread that comes before its first result.
_making_replica = threading.Lock()
_pool = ConnectionPool(lambda: settings.DATABASE_READ_URL)
close_idle = _pool.close_idle


def read(work: Callable[[Connection], T]) -> T:
    """Run a read that sees whatever was answered before; raise StoreUnavailable if it fails.

    `work` may run more than once.
    """
    if not settings.DATABASE_READ_URL:
        return run(work)
    if replica().is_usable:
        try:
            result = read_on_replica(work)
        except QueryCanceled as error:
            # It takes too long, and would on the primary.
            log_failure(error)
            raise StoreUnavailable from error
        except DENIED as error:
            log_failure(error)  # the replica keeps the other reads
        except FAILURES as error:
            replica().give_up(error)
        else:
            READS.labels("replica").inc()
            return result
    READS.labels("primary").inc()
    return run(work)


def read_one(sql: str, parameters: Params = ()) -> tuple[Any, ...] | None:
    """Return the first row of a read, or None."""
    return read(lambda connection: connection.execute(sql, parameters).fetchone())


def read_value(sql: str, parameters: Params = ()) -> Any:
    """Return what a read finds in one column of one row, None if it finds nothing."""
    (value,) = read_one(sql, parameters) or (None,)
    return value


def read_on_replica(work: Callable[[Connection], T]) -> T:
    """Run a read on the replica.

    Raises BehindError and psycopg's errors, StoreUnavailable if the primary fails.
    """
    position = fetch_value(POSITION)
    if position is None:
        raise BehindError

    def caught_up(connection: Connection) -> T:
        wait_for(connection, position.decode())
        return work(connection)

    return _pool.run(caught_up)


def wait_for(connection: Connection, position: str) -> None:
    """Wait until a replica has replayed the log up to a position; raise BehindError if it lags."""
    for pause in PAUSES:
        time.sleep(pause)
        begin(connection, LIMIT_SECONDS)
        row = connection.execute(HAS_REPLAYED, (position,)).fetchone()
        if row is not None and row[0]:
            begin(connection)
            return
    raise BehindError
