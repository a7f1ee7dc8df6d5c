"""What the worker does now and then beside its duties, in threads of their own.

Each chore finishes what a killed process has begun, in short transactions. It may be cut off at
any moment, and several workers may do it at the same time.
"""

import logging
import threading
from collections.abc import Callable
from typing import NamedTuple

import psycopg
from redis import RedisError

from crud_service import postgresql
from crud_service.chat.own_limits import synchronise_limits
from crud_service.chat.rotations import finish_rotations
from crud_service.stores.database import Connection, connect_watched, in_one_line
from crud_service.stores.redis_clients import api_redis, shards
from crud_service.transfer.unfinished import remove_left_behind

logger = logging.getLogger(__name__)


class Chore(NamedTuple):
    """Work on a connection to PostgreSQL, and the seconds between two looks for some."""

    name: str
    interval: float
    work: Callable[[Connection], object]


def repair_limits(connection: Connection) -> None:
    """Repair the limits of all shards; raise RedisError at the end if one is unavailable."""
    failed = None
    for shard in shards():
        try:
            repaired = synchronise_limits(connection, api_redis(shard.number), shard)
        except RedisError as error:
            failed = error
            continue
        if repaired:
            logger.info("limits copied to Redis", extra={"limits": repaired})
    if failed:
        raise failed


CHORES = (
    Chore("unfinished imports", 30.0, remove_left_behind),
    Chore("unfinished rotations", 1.0, finish_rotations),
    # Redis may have lost all limits; if it has not, they are compared less often.
    Chore("rate limits", 4.0, repair_limits),
)


def is_alive(connection: Connection) -> bool:
    """Return whether a connection has not died since it was used; close it if it has."""
    try:
        connection.execute("")
    except psycopg.Error:
        connection.close()
        return False
    return True


def start_chores(stopped: threading.Event) -> None:
    """Do all chores, until `stopped` is set or the process ends."""
    for chore in CHORES:
        threading.Thread(
            target=attend, args=(chore, stopped), name=f"chore-{chore.name}", daemon=True
        ).start()


def attend(chore: Chore, stopped: threading.Event) -> None:
    """Do a chore at its interval."""
    connection: Connection | None = None
    while not stopped.wait(chore.interval):
        try:
            if connection is None or not is_alive(connection):
                connection = connect_watched(postgresql.CHORES)
            chore.work(connection)
        except (psycopg.Error, RedisError) as error:
            # A session may be what fails: its role may have had fewer rights when it began.
            if connection is not None and isinstance(error, psycopg.Error):
                connection.close()
            extra = {"chore": chore.name, "reason": in_one_line(error)}
            logger.warning("a chore waits for a store", extra=extra)
        except Exception:
            # Nothing else does it: the thread must survive any error.
            logger.exception("a chore failed", extra={"chore": chore.name})
    if connection is not None:
        connection.close()
