"""Wakes the indexer after a write, without delaying the write.

The outbox holds the work; the wake-up only saves waiting for the indexer's next poll.
So it happens in the background, and a failed wake-up costs at most the second until
that poll.
"""

import logging
import os
import threading
import time
from collections.abc import Callable

from redis import Redis

from crud_service.duties.lease import indexing, may_wake
from crud_service.stores.redis_clients import hint_redis, shards

logger = logging.getLogger(__name__)

# After a ring, before the next: the changes of a busy time share them.
PAUSE_SECONDS = 0.01


def ring(client: Redis, request_id: str) -> None:
    """Wake the waiting indexer; if there is none, the next one finds the ring."""
    doorbell = indexing(shards().first).waiting
    client.rpush(doorbell, request_id)
    client.ltrim(doorbell, -1, -1)


def ring_once(client: Redis, request_id: str) -> None:
    """Ring, unless a ring waits to be heard: the indexer looks after it hears that one.

    Redis has each ring on disk before it answers, and its disk may be PostgreSQL's too.
    """
    if not client.exists(indexing(shards().first).waiting):
        ring(client, request_id)


def wait_for_ring(client: Redis, seconds: float) -> str | None:
    """Wait for the doorbell; return the id of a request that rang it, None on timeout."""
    doorbell = indexing(shards().first).waiting
    rung: tuple[bytes, bytes] | None = client.blpop([doorbell], timeout=seconds)  # type: ignore[assignment]
    return None if rung is None else rung[1].decode()


def stop_ringing(client: Redis) -> None:
    """Discard a ring, before everything is looked at anyway."""
    client.delete(indexing(shards().first).waiting)


class Waker:
    """Wakes the indexer in a thread, at most one at a time in a process."""

    def __init__(self, redis: Callable[[], Redis] = hint_redis) -> None:
        self._redis = redis
        self.start_over()

    def start_over(self) -> None:
        """Reset, as a fork must: it copies the state, but not the thread that would reset it."""
        self._lock = threading.Lock()
        self._running = False
        self._again = False

    def wake(self, request_id: str = "") -> None:
        """Make the indexer look at the outbox soon; return at once and never raise.

        The doorbell and the task carry the id of the request that asked first.
        """
        with self._lock:
            self._again = self._running
            if self._running:
                return
            self._running = True
        try:
            threading.Thread(
                target=self._run, args=(request_id,), name="wake-indexer", daemon=True
            ).start()
        except RuntimeError:  # no thread can be started, or the interpreter is shutting down
            self._running = False

    def _run(self, request_id: str) -> None:
        while True:
            try:
                ring_once(self._redis(), request_id)
                if needs_wake_up(self._redis()):
                    send_indexing_task(request_id)
            except Exception as error:  # any failure: the indexer looks once a second anyway
                logger.warning("the indexer was not woken: %s", error)
            time.sleep(PAUSE_SECONDS)
            with self._lock:
                self._running = self._again
                self._again = False
                if not self._running:
                    return


def needs_wake_up(client: Redis) -> bool:
    """Return whether no worker is indexing and no task is on its way; if so, flag one as sent."""
    duty = indexing(shards().first)
    return not client.exists(duty.lease) and may_wake(client, duty)


def send_indexing_task(request_id: str) -> None:
    from crud_service.duties.celery_app import send_task  # not earlier: it reads the settings

    send_task(indexing(shards().first), request_id)


_waker = Waker()
os.register_at_fork(after_in_child=_waker.start_over)
wake_indexer = _waker.wake
