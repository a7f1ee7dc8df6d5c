"""PostgreSQL's primary, as API requests use it; the ORM of the admin has its own connections."""

import logging
from collections.abc import Callable
from typing import Any, TypeVar

import psycopg
from django.conf import settings
from psycopg.abc import Params

from crud_service.interval import Interval
from crud_service.postgresql import Parameters
from crud_service.stores.connection_pool import FAILURES, ConnectionPool
from crud_service.stores.connection_pool import Connection as Connection
from crud_service.stores.overdue import WatchedConnection
from web.problems import StoreUnavailable

logger = logging.getLogger(__name__)
# A management command, which has no handler, names the failure itself, in one line.
logger.addHandler(logging.NullHandler())

T = TypeVar("T")

# While PostgreSQL fails, the log says why this often, however many requests are answered 503.
failures = Interval(10.0)

_pool = ConnectionPool(lambda: settings.DATABASE_URL)
connect = _pool.connect
take_idle = _pool.take_idle
use = _pool.use
close_idle = _pool.close_idle


def connect_as(parameters: Parameters) -> Connection:
    """Return a new connection in autocommit mode, with parameters of `crud_service.postgresql`."""
    return psycopg.connect(settings.DATABASE_URL, autocommit=True, **parameters)


def connect_watched(parameters: Parameters) -> Connection:
    """Return such a connection for the worker, which gives up on a server that stays silent."""
    return WatchedConnection.connect(settings.DATABASE_URL, autocommit=True, **parameters)


def run(work: Callable[[Connection], T]) -> T:
    """Run a read on a connection; raise StoreUnavailable if PostgreSQL fails.

    If the connection turns out to be dead, `work` is retried once on a new one:
    writes belong in `transactions.change`.
    """
    try:
        return _pool.run(work)
    except FAILURES as error:
        log_failure(error)
        raise StoreUnavailable from error


def fetch_one(sql: str, parameters: Params = ()) -> tuple[Any, ...] | None:
    """Return the first row of a statement, or None; the statement may run twice."""
    return run(lambda connection: connection.execute(sql, parameters).fetchone())


def fetch_before_change(sql: str, parameters: Params = ()) -> tuple[Any, ...] | None:
    """Return the first row of a statement, or None, before the request changes anything.

    Raises StoreUnavailable, which says that nothing was changed, if PostgreSQL fails.
    """
    try:
        return fetch_one(sql, parameters)
    except StoreUnavailable as error:
        raise StoreUnavailable.nothing_changed() from error


def fetch_value(sql: str, parameters: Params = ()) -> Any:
    """Return what a statement finds in one column of one row, None if it finds nothing."""
    (value,) = fetch_one(sql, parameters) or (None,)
    return value


def log_failure(error: BaseException) -> None:
    """Log why requests are answered 503, which their own lines do not say; at most now and then.

    Args:
        error: what PostgreSQL, or the attempt to reach it, failed with.
    """
    if failures.has_passed():
        logger.warning("PostgreSQL fails requests", extra={"reason": in_one_line(error)})


def in_one_line(error: BaseException) -> str:
    """Describe an error in one line, without the details that quote rows."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def as_text(value: bytes | str) -> str:
    """Return a text as a string, which connections of the API load as bytes."""
    return value.decode() if isinstance(value, bytes) else value
