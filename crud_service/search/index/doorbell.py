"""Wakes the indexer after a write, without holding the write up.

The outbox holds what is to be done; the wake-up only saves waiting until the
indexer looks by itself. So it happens in the background, and its failures cost
at most the second until that look.
"""

import logging
import os
import threading
from functools import cache

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from contract.keys import DOORBELL_INDEX, LEASE_INDEX, WAKE_UP_INDEX, WAKE_UP_TTL_MS
from contract.tasks import INDEX_PENDING, INDEX_QUEUE, REQUEST_ID_HEADER

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 0.5


class _Pending:
    """Whether a wake-up of this process is under way, and whether another was asked for."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.running = False
        self.again = False


_pending = _Pending()
# A fork copies the state but not the thread that would have reset it.
os.register_at_fork(after_in_child=_pending.__init__)  # type: ignore[misc]


def ring(client: redis.Redis, request_id: str) -> None:
    """Wake the indexer that waits; the next one finds it if there is none now."""
    client.rpush(DOORBELL_INDEX, request_id)
    client.ltrim(DOORBELL_INDEX, -1, -1)


def wait_for_ring(client: redis.Redis, seconds: float) -> str | None:
    """Wait for the doorbell; the id of the request that rang it last, None when none did."""
    rung: tuple[bytes, bytes] | None = client.blpop([DOORBELL_INDEX], timeout=seconds)  # type: ignore[assignment]
    return None if rung is None else rung[1].decode()


def stop_ringing(client: redis.Redis) -> None:
    """Silence the doorbell, before everything is looked at anyway."""
    client.delete(DOORBELL_INDEX)


def wake_indexer(request_id: str = "") -> None:
    """Have the indexer look at the outbox soon; returns at once and never raises.

    The doorbell and the task carry the id of the request that asked first.
    """
    with _pending.lock:
        _pending.again = _pending.running
        if _pending.running:
            return
        _pending.running = True
    try:
        threading.Thread(target=_wake, args=(request_id,), name="wake-indexer", daemon=True).start()
    except RuntimeError:  # no thread to be had, or the interpreter is shutting down
        _pending.running = False


def _wake(request_id: str) -> None:
    while True:
        try:
            ring(_redis(), request_id)
            if needs_wake_up():
                send_task(request_id)
        except Exception as error:  # whatever it was, the indexer looks once a second
            logger.warning("the indexer was not woken: %s", error)
        with _pending.lock:
            _pending.running = _pending.again
            _pending.again = False
            if not _pending.running:
                return


def needs_wake_up() -> bool:
    """Whether no worker is indexing and no task is on its way; says that one is now."""
    client = _redis()
    if client.exists(LEASE_INDEX):
        return False
    return bool(client.set(WAKE_UP_INDEX, b"", nx=True, px=WAKE_UP_TTL_MS))


def send_task(request_id: str) -> None:
    """Put the task on its queue."""
    from crud_service.duties.celery_app import app  # not sooner: it reads the settings

    headers = {REQUEST_ID_HEADER: request_id}
    app.send_task(
        INDEX_PENDING, queue=INDEX_QUEUE, headers=headers, ignore_result=True, retry=False
    )


@cache
def _redis() -> redis.Redis:
    return redis.Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
