"""Wakes the indexer after a write, without delaying the write.

The outbox holds the work; the wake-up only saves waiting for the indexer's next poll.
So it happens in the background, and a failed wake-up costs at most the second until
that poll.
"""

import logging
import os
import threading
from functools import cache

import redis

from contract.keys import DOORBELL_INDEX, LEASE_INDEX, WAKE_UP_INDEX, WAKE_UP_TTL_MS
from contract.tasks import EXPIRES_SECONDS, INDEX_PENDING, INDEX_QUEUE, REQUEST_ID_HEADER
from crud_service.stores.api_redis import connect

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 0.5


class _Pending:
    """Whether this process is sending a wake-up, and whether another one was requested since."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.running = False
        self.again = False


_pending = _Pending()
# A fork copies the state but not the thread that would have reset it.
os.register_at_fork(after_in_child=_pending.__init__)  # type: ignore[misc]


def ring(client: redis.Redis, request_id: str) -> None:
    """Wake the waiting indexer; if there is none, the next one finds the ring."""
    client.rpush(DOORBELL_INDEX, request_id)
    client.ltrim(DOORBELL_INDEX, -1, -1)


def wait_for_ring(client: redis.Redis, seconds: float) -> str | None:
    """Wait for the doorbell; return the id of the request that rang it last, None on timeout."""
    rung: tuple[bytes, bytes] | None = client.blpop([DOORBELL_INDEX], timeout=seconds)  # type: ignore[assignment]
    return None if rung is None else rung[1].decode()


def stop_ringing(client: redis.Redis) -> None:
    """Discard a ring, before everything is looked at anyway."""
    client.delete(DOORBELL_INDEX)


def wake_indexer(request_id: str = "") -> None:
    """Make the indexer look at the outbox soon; return at once and never raise.

    The doorbell and the task carry the id of the request that asked first.
    """
    with _pending.lock:
        _pending.again = _pending.running
        if _pending.running:
            return
        _pending.running = True
    try:
        threading.Thread(target=_wake, args=(request_id,), name="wake-indexer", daemon=True).start()
    except RuntimeError:  # no thread can be started, or the interpreter is shutting down
        _pending.running = False


def _wake(request_id: str) -> None:
    while True:
        try:
            ring(_redis(), request_id)
            if needs_wake_up():
                send_task(request_id)
        except Exception as error:  # any failure: the indexer looks once a second anyway
            logger.warning("the indexer was not woken: %s", error)
        with _pending.lock:
            _pending.running = _pending.again
            _pending.again = False
            if not _pending.running:
                return


def needs_wake_up() -> bool:
    """Return whether no worker is indexing and no task is on its way; if so, flag one as sent."""
    client = _redis()
    if client.exists(LEASE_INDEX):
        return False
    return bool(client.set(WAKE_UP_INDEX, b"", nx=True, px=WAKE_UP_TTL_MS))


def send_task(request_id: str) -> None:
    """Send the indexing task to its queue."""
    from crud_service.duties.celery_app import app  # not earlier: it reads the settings

    headers = {REQUEST_ID_HEADER: request_id}
    app.send_task(
        INDEX_PENDING,
        queue=INDEX_QUEUE,
        headers=headers,
        expires=EXPIRES_SECONDS,
        ignore_result=True,
        retry=False,
    )


@cache
def _redis() -> redis.Redis:
    return connect(retries=0, timeout_seconds=TIMEOUT_SECONDS)
