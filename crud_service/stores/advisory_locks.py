"""Advisory locks of PostgreSQL that a session holds: they end with it, even after kill -9."""

from collections.abc import Iterator
from contextlib import contextmanager

from crud_service.stores.database import Connection


@contextmanager
def lock(connection: Connection, key: int) -> Iterator[bool]:
    """Try to hold a lock for the block; yield whether it is held."""
    ours = bool(connection.execute("SELECT pg_try_advisory_lock(%s)", (key,)).fetchall()[0][0])
    try:
        yield ours
    finally:
        if ours:
            unlock(connection, key)


@contextmanager
def awaited_lock(connection: Connection, key: int) -> Iterator[None]:
    """Wait for a lock, and hold it for the block."""
    wait_for_lock(connection, key)
    try:
        yield
    finally:
        unlock(connection, key)


def wait_for_lock(connection: Connection, key: int) -> None:
    """Wait for a lock, and hold it until the session ends."""
    connection.execute("SELECT pg_advisory_lock(%s)", (key,))


def unlock(connection: Connection, key: int) -> None:
    """Release a lock, which has ended if the connection has."""
    if not connection.closed:
        connection.execute("SELECT pg_advisory_unlock(%s)", (key,))
