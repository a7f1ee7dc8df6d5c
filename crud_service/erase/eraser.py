"""The eraser: a thread beside the indexer, under the same lease.

Applications take turns, batch by batch, and after each batch it rests for as long as that took, so
that it never takes more than half of what PostgreSQL could do for others. Within an application,
deletions are erased one after the other.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress

import psycopg
from redis import RedisError

from contract.keys import WORKER_METRICS
from crud_service.duties.background import running
from crud_service.erase.redis_keys import Clients, forget_keys, refuse_creations
from crud_service.erase.rows import Deletion, erase_rows, find_pending, finish
from crud_service.interval import Interval
from crud_service.postgresql import INDEXER
from crud_service.stores.database import Connection, connect_watched
from crud_service.stores.redis_clients import shards, worker_redis

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
# How long deletions wait after the Redis of their shard did not answer.
UNAVAILABLE_SECONDS = 5.0
LEAST_REST_SECONDS = 0.005
LOG_EVERY_SECONDS = 10.0
# How long Redis is searched for the keys of an application until it is another one's turn.
KEYS_SECONDS = 0.1
# A seeding that asked before the deletion was committed has ended by then: it writes no sequence
# any more that would be left behind.
GRACE_SECONDS = 10.0


class Eraser:
    """Erases deletion after deletion; `erase_some` does one batch for each application.

    Args:
        redis_of: the clients of Redis, where creations in what is deleted are refused.
        over: once it is set, the eraser ends after the batch in progress.
        grace_seconds: the least age of a deletion of an application that is finished.
        erase: erases one batch; see `erase_rows`.
    """

    def __init__(
        self,
        redis_of: Clients,
        over: threading.Event | None = None,
        grace_seconds: float = GRACE_SECONDS,
        erase: Callable[[Connection, Deletion], int | None] = erase_rows,
    ) -> None:
        self._erase_batch = erase
        self._redis_of = redis_of
        self._over = over or threading.Event()
        self._grace_seconds = grace_seconds
        self._refused: set[int] = set()
        # When the last rows may be looked for of deletions that are as good as finished.
        self._due: dict[int, float] = {}
        # The searches for their keys that are in progress.
        self._forgetting: dict[int, Iterator[None]] = {}
        self._unavailable_until: dict[int, float] = {}  # by shard, after a failure of its Redis
        self._erased: dict[int, int] = {}
        self._progress = Interval(LOG_EVERY_SECONDS)

    def erase_some(self, connection: Connection) -> bool:
        """Erase one batch for each application; return whether there may be more at once."""
        is_more = False
        seen = set()
        for deletion in find_pending(connection):
            if self._over.is_set():
                return False
            seen.add(deletion.id)
            if self._is_due(deletion):
                is_more |= self._try_to_erase(connection, deletion)
        self._forget_all_but(seen)
        return is_more

    def _is_due(self, deletion: Deletion) -> bool:
        now = time.monotonic()
        is_unavailable = any(
            self._unavailable_until.get(shard, 0) > now for shard in shard_numbers_of(deletion)
        )
        return not is_unavailable and self._due.get(deletion.id, 0) <= now

    def _forget_all_but(self, seen: set[int]) -> None:
        """Forget deletions that are finished, by this process or another."""
        self._refused &= seen
        for known in (self._due, self._erased, self._forgetting):
            for finished in known.keys() - seen:
                del known[finished]

    def _try_to_erase(self, connection: Connection, deletion: Deletion) -> bool:
        """Erase one batch; an error of this deletion must not hold up those of others."""
        try:
            return self._erase(connection, deletion)
        except psycopg.Error:
            if connection.broken:
                raise
            logger.exception("erasing failed", extra=described(deletion))
        except RedisError as error:
            self._forgetting.pop(deletion.id, None)
            # Each try may take a timeout, during which nothing is erased in other shards.
            again = time.monotonic() + UNAVAILABLE_SECONDS
            self._unavailable_until |= dict.fromkeys(shard_numbers_of(deletion), again)
            reason = {"reason": type(error).__name__}
            logger.warning("erasing waits for Redis", extra={**described(deletion), **reason})
        self._due[deletion.id] = time.monotonic() + LOOK_SECONDS
        return False

    def _erase(self, connection: Connection, deletion: Deletion) -> bool:
        if deletion.id not in self._refused:
            refuse_creations(self._redis_of, deletion)
            self._refused.add(deletion.id)
            logger.info("erasing", extra=described(deletion))
        started = time.monotonic()
        erased = self._erase_batch(connection, deletion)
        if erased is None:
            return self._finish(connection, deletion)
        if erased:
            self._note(deletion, erased)
        self._over.wait(max(LEAST_REST_SECONDS, time.monotonic() - started))
        return True

    def _finish(self, connection: Connection, deletion: Deletion) -> bool:
        if deletion.chat_id is None:
            if (remaining := self._grace_seconds - deletion.age_seconds) > 0:
                self._due[deletion.id] = time.monotonic() + remaining
                return False
            if not self._forget_some_keys(deletion):
                return True
        try:
            if not finish(connection, deletion):
                return True
        except psycopg.errors.LockNotAvailable:
            return False
        count = self._erased.get(deletion.id, 0)
        logger.info("erased", extra={**described(deletion), "messages": count})
        return True

    def _forget_some_keys(self, deletion: Deletion) -> bool:
        """Delete keys in Redis for a moment; return whether none is left."""
        forgetting = self._forgetting.setdefault(
            deletion.id, forget_keys(self._redis_of, deletion.access_tokens)
        )
        until = time.monotonic() + KEYS_SECONDS
        return all(time.monotonic() < until for _ in forgetting)

    def _note(self, deletion: Deletion, erased: int) -> None:
        first = shards().first
        with suppress(RedisError):  # it may be that of another shard
            metrics = self._redis_of(first.number)
            metrics.hincrby(first.key(WORKER_METRICS), "erase_messages", erased)
        self._erased[deletion.id] = self._erased.get(deletion.id, 0) + erased
        if self._progress.has_passed():
            count = self._erased[deletion.id]
            logger.info("erasing goes on", extra={**described(deletion), "messages": count})


def shard_numbers_of(deletion: Deletion) -> set[int]:
    return {shards().number_of(token) for token in deletion.access_tokens}


def described(deletion: Deletion) -> dict[str, object]:
    return {"deletion": deletion.id, "chat_number": deletion.chat_number}


def erasing() -> AbstractContextManager[None]:
    """Erase in a thread, until the end of the block."""
    return running("eraser", erase_until)


def erase_until(over: threading.Event) -> None:
    while not over.is_set():
        try:
            with connect_watched(INDEXER) as connection:
                eraser = Eraser(worker_redis, over)
                while not over.is_set():
                    if not eraser.erase_some(connection):
                        over.wait(LOOK_SECONDS)
        except (psycopg.Error, RedisError) as error:
            logger.warning("erasing waits for a store", extra={"reason": type(error).__name__})
        except Exception:
            # Nothing else erases: the thread must survive any error.
            logger.exception("erasing failed")
        over.wait(LOOK_SECONDS)
