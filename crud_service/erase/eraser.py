"""The eraser: a thread beside the indexer, under the same lease.

Deletions take turns, batch by batch, and after each batch it rests for as long as that took, so
that it never takes more than half of what PostgreSQL could do for others.
"""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from redis import Redis, RedisError

from contract.keys import WORKER_METRICS
from crud_service.erase.redis_keys import forget_keys, refuse_creations
from crud_service.erase.rows import Deletion, erase_rows, find_pending, finish
from crud_service.search.feed.indexer import connect
from crud_service.search.feed.interval import Interval
from crud_service.stores.database import Connection

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
LEAST_REST_SECONDS = 0.005
LOG_EVERY_SECONDS = 10.0
# A seeding that asked before the deletion was committed has ended by then: it writes no sequence
# any more that would be left behind.
GRACE_SECONDS = 10.0


class Eraser:
    """Erases deletion after deletion; `erase_some` does one batch of each."""

    def __init__(self, redis: Redis, grace_seconds: float = GRACE_SECONDS) -> None:
        self._redis = redis
        self._grace_seconds = grace_seconds
        self._refused: set[int] = set()
        self._erased: dict[int, int] = {}
        self._progress = Interval(LOG_EVERY_SECONDS)

    def erase_some(self, connection: Connection) -> bool:
        """Erase one batch of each deletion; return whether there may be more at once."""
        pending = find_pending(connection)
        self._refused &= {deletion.id for deletion in pending}
        is_more = [self._erase(connection, deletion) for deletion in pending]
        return any(is_more)

    def _erase(self, connection: Connection, deletion: Deletion) -> bool:
        if deletion.id not in self._refused:
            refuse_creations(self._redis, deletion)
            self._refused.add(deletion.id)
            logger.info("erasing", extra=described(deletion))
        started = time.monotonic()
        erased = erase_rows(connection, deletion)
        if erased is None:
            return self._finish(connection, deletion)
        if erased:
            self._note(deletion, erased)
        time.sleep(max(LEAST_REST_SECONDS, time.monotonic() - started))
        return True

    def _finish(self, connection: Connection, deletion: Deletion) -> bool:
        if deletion.chat_id is None:
            if deletion.age_seconds < self._grace_seconds:
                return False
            forget_keys(self._redis, deletion.access_token)
        try:
            finish(connection, deletion)
        except psycopg.errors.LockNotAvailable:
            return False
        count = self._erased.pop(deletion.id, 0)
        logger.info("erased", extra={**described(deletion), "messages": count})
        return True

    def _note(self, deletion: Deletion, erased: int) -> None:
        self._redis.hincrby(WORKER_METRICS, "erase_messages", erased)
        self._erased[deletion.id] = self._erased.get(deletion.id, 0) + erased
        if self._progress.has_passed():
            count = self._erased[deletion.id]
            logger.info("erasing goes on", extra={**described(deletion), "messages": count})


def described(deletion: Deletion) -> dict[str, object]:
    return {"deletion": deletion.id, "chat_number": deletion.chat_number}


@contextmanager
def erasing(redis: Redis) -> Iterator[None]:
    """Erase in a thread, until the end of the block."""
    over = threading.Event()
    thread = threading.Thread(target=erase_until, args=(redis, over), name="eraser", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def erase_until(redis: Redis, over: threading.Event) -> None:
    while not over.is_set():
        try:
            with connect() as connection:
                eraser = Eraser(redis)
                while not over.is_set():
                    if not eraser.erase_some(connection):
                        over.wait(LOOK_SECONDS)
        except (psycopg.Error, RedisError) as error:
            logger.warning("erasing waits for a store", extra={"reason": type(error).__name__})
        except Exception:
            # Nothing else erases: the thread must survive any error.
            logger.exception("erasing failed")
        over.wait(LOOK_SECONDS)
