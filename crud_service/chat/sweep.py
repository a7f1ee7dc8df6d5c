"""Once a second, makes up for wake-ups that got lost.

In a thread of its own: the worker's event loop takes tasks from the broker and
must never wait for a store that is away.
"""

import logging
import threading
from typing import Any

from celery import bootsteps
from django import db
from django.conf import settings
from kombu.exceptions import OperationalError
from redis import Redis, RedisError
from redis.exceptions import OutOfMemoryError

from contract.keys import (
    ACCEPTED,
    LEASE_INDEX,
    LEASE_PERSIST,
    WAKE_UP_INDEX,
    WAKE_UP_PERSIST,
    WAKE_UP_TTL_MS,
)
from contract.tasks import INDEX_PENDING, INDEX_QUEUE, PERSIST_ACCEPTED, PERSIST_QUEUE
from crud_service.chat.drain import drain_accepted
from crud_service.chat.worker_redis import connect

logger = logging.getLogger(__name__)

INTERVAL_SECONDS = 1.0
SOCKET_TIMEOUT_SECONDS = 1.0


class Sweep(bootsteps.StartStopStep):
    """The part of the worker that sweeps, from its start to its shutdown."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, parent: Any, **kwargs: Any):
        super().__init__(parent, **kwargs)
        self._stopped = threading.Event()

    def start(self, parent: Any) -> None:
        threading.Thread(target=self._run, args=(parent.app,), name="sweep", daemon=True).start()

    def stop(self, parent: Any) -> None:
        self._stopped.set()

    terminate = stop

    def _run(self, app: Any) -> None:
        redis = connect(SOCKET_TIMEOUT_SECONDS)
        while not self._stopped.wait(INTERVAL_SECONDS):
            try:
                sweep(app, redis)
            except Exception:
                # Whatever it was, nobody else sweeps: the thread must live on.
                logger.exception("the sweep failed")


def sweep(app: Any, redis: Redis) -> None:
    """Send the task of every kind that has work and nobody at it."""
    try:
        sweep_accepted(app, redis)
        sweep_outbox(app, redis)
    except OutOfMemoryError:
        # No task can be sent, and only persisting makes room: so it is done here.
        drain_accepted(redis, woken_by="sweep")
    except db.Error:
        # PostgreSQL is away. Nothing can be persisted or indexed, and the
        # persist task, which is sent all the same, says so in the log.
        db.connection.close()
    except (RedisError, OperationalError, OSError) as error:
        logger.warning("the sweep waits for Redis", extra={"reason": str(error)})


def sweep_accepted(app: Any, redis: Redis) -> None:
    """Wake a persister if the stream holds entries and nobody persists."""
    if redis.xlen(ACCEPTED) and may_wake(redis, LEASE_PERSIST, WAKE_UP_PERSIST):
        app.send_task(PERSIST_ACCEPTED, queue=PERSIST_QUEUE, retry=False)


def sweep_outbox(app: Any, redis: Redis) -> None:
    """Wake an indexer if something waits to be indexed and nobody indexes."""
    if is_outbox_filled() and may_wake(redis, LEASE_INDEX, WAKE_UP_INDEX):
        app.send_task(INDEX_PENDING, queue=INDEX_QUEUE, retry=False)


def may_wake(redis: Redis, lease: str, wake_up: str) -> bool:
    """Whether nobody works under the lease and no wake-up is on its way; says one is now."""
    if redis.exists(lease):
        return False
    return bool(redis.set(wake_up, "1", nx=True, px=WAKE_UP_TTL_MS))


def is_outbox_filled() -> bool:
    """Whether something waits to be indexed, in PostgreSQL or in Elasticsearch."""
    query = "SELECT EXISTS (SELECT FROM search_outbox)"
    if settings.ELASTICSEARCH_URL:
        query += " OR EXISTS (SELECT FROM search_queue)"
        query += " OR EXISTS (SELECT FROM search_state WHERE index_format = 0)"
    with db.connection.cursor() as cursor:
        cursor.execute(query)
        return bool(cursor.fetchone()[0])
