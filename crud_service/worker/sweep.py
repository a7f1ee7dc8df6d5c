"""Periodically makes up for lost wake-ups, and ends a child that is stuck.

It runs in a separate thread: the worker's event loop receives tasks from the broker
and must never wait for an unavailable store.
"""

import logging
import math
import os
import threading
import time
from typing import Any

from celery import bootsteps, signals
from kombu.exceptions import OperationalError
from redis import Redis, RedisError
from redis.exceptions import OutOfMemoryError

from contract.keys import LEASE_TTL_MS
from contract.tasks import INDEX_QUEUE, PERSIST_QUEUE
from crud_service.duties.celery_app import send_task
from crud_service.duties.lease import (
    Duty,
    Lease,
    attended,
    indexing,
    may_wake,
    persisting,
    progress,
)
from crud_service.duties.spread import keep_enrolled
from crud_service.erase.eraser import erasing
from crud_service.persist.drain import drain_accepted
from crud_service.search.feed.indexer import keep_indexed
from crud_service.stores.redis_clients import connect_worker, shards, sweep_name
from crud_service.worker.chores import start_chores
from crud_service.worker.heartbeat import start_beating
from web.log_output import drain_all

logger = logging.getLogger(__name__)

INTERVAL_SECONDS = 1.0
# How often to look while another worker may have the duty, to notice soon when it is gone.
STANDBY_SECONDS = 0.25
# While we have the duty ourselves there is nothing to check, but we must contact Redis for
# the health check (see `health_check`).
IDLE_SECONDS = 4.0
SOCKET_TIMEOUT_SECONDS = 1.0
# No step of the work takes this long where PostgreSQL answers at all; one that is frozen for so
# long is better met by a new process.
STUCK_SECONDS = 300.0
# A sender may flag a task without being able to send it, and under load it flags the next one at
# once: if no task has started for so long, we send one regardless of the flag, at this interval.
OVERDUE_SECONDS = 2.0
# Some worker starts a task sooner than this after it was sent.
NEGLECTED_SECONDS = 20.0


class Sweep(bootsteps.StartStopStep):
    """Sweeps in a worker's child, from its start to its shutdown.

    The queue in the child's name, `queue@host`, determines the duties.
    """

    requires = ("celery.worker.components:Pool",)

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        super().__init__(parent, **kwargs)
        self._stopped = threading.Event()

    def start(self, parent: Any) -> None:
        start_beating()
        name = parent.hostname
        queue = name.partition("@")[0]
        for duty in duties_of(queue):
            threading.Thread(
                target=self._run, args=(duty, name), name=f"sweep-{duty.lease}", daemon=True
            ).start()
        if queue == PERSIST_QUEUE and len(shards()) > 1:
            threading.Thread(
                target=self._enrol, args=(name,), name="enrolment", daemon=True
            ).start()
        # Beside the indexer, so that nothing takes time from the persister.
        if queue == INDEX_QUEUE:
            start_chores(self._stopped)

    def stop(self, parent: Any) -> None:
        self._stopped.set()

    terminate = stop

    def _enrol(self, name: str) -> None:
        redis = connect_worker(SOCKET_TIMEOUT_SECONDS)
        keep_enrolled(redis, shards(), name, self._stopped)

    def _run(self, duty: Duty, name: str) -> None:
        redis = connect_worker(SOCKET_TIMEOUT_SECONDS, sweep_name(duty.queue), duty.shard)
        watch = Watch(duty)
        swept_at = -IDLE_SECONDS
        while True:
            if duty not in attended or time.monotonic() - swept_at > IDLE_SECONDS:
                swept_at = time.monotonic()
                try:
                    watch.look(sweep(redis, duty, name, is_overdue=watch.note_overdue()))
                except Exception:
                    # Nothing else sweeps: the thread must survive any error.
                    logger.exception("the sweep failed")
            if self._stopped.wait(INTERVAL_SECONDS if duty in attended else STANDBY_SECONDS):
                return


def duties_of(queue: str) -> list[Duty]:
    """Return the duties for which a child of a queue is there."""
    if queue == INDEX_QUEUE:
        return [indexing(shards().first)]
    return [persisting(shard) for shard in shards()]


class Watch:
    """Detects that this child is stuck, in a library or a system call, and must be replaced.

    A child is stuck if its work makes no progress, or if it is sent task after task and
    starts none.
    """

    def __init__(self, duty: Duty) -> None:
        self._duty = duty
        self._free_since = math.inf
        self._started_at = self._overdue_at = -math.inf
        signals.task_prerun.connect(self._note_start)

    def _note_start(self, **_kwargs: Any) -> None:
        self._started_at = time.monotonic()

    def note_overdue(self) -> bool:
        """Return whether a task that was sent would have started by now; True for one call."""
        now = time.monotonic()
        last = max(self._free_since, self._started_at, self._overdue_at)
        if now - last <= OVERDUE_SECONDS:
            return False
        self._overdue_at = now
        return True

    def look(self, is_free: bool) -> None:
        """End the process if it is stuck; `is_free` means that no worker has the duty."""
        now = time.monotonic()
        self._free_since = min(self._free_since, now) if is_free else math.inf
        if self._duty in attended and now - progress[self._duty] > STUCK_SECONDS:
            give_up("its work does not get on")
        if now - max(self._free_since, self._started_at) > NEGLECTED_SECONDS:
            give_up("it starts none of the tasks it is sent")


def give_up(reason: str) -> None:
    """End this process without waiting for the stuck thread; the parent starts another one."""
    logger.error("a child is stuck: it exits", extra={"reason": reason})
    drain_all()
    os._exit(1)


def sweep(redis: Redis, duty: Duty, name: str, *, is_overdue: bool = False) -> bool:
    """Send the duty's task if no worker has the duty and no task is on its way, or it is overdue.

    Returns whether no worker has the duty; False also if Redis or the broker is unavailable or out
    of memory.
    """
    try:
        free = is_free(redis.get(duty.lease), duty, name)
        if not free:
            shorten(redis, duty.lease)
        elif may_wake(redis, duty) or is_overdue:
            send_task(duty)
        return free
    except OutOfMemoryError:
        # No task can be sent, and only persisting frees memory: so it is done here.
        if duty.queue == PERSIST_QUEUE:
            do_waiting(redis, duty)
    except OperationalError as error:
        logger.warning("no task is sent: the sweep does the work", extra={"reason": str(error)})
        do_waiting(redis, duty)
    except (RedisError, OSError) as error:
        logger.warning("the sweep waits for Redis", extra={"reason": str(error)})
    return False


def do_waiting(redis: Redis, duty: Duty) -> None:
    """Do what waits of a duty, without a task; return once nothing is left."""
    if duty.queue == PERSIST_QUEUE:
        drain_accepted(redis, duty.shard)
    else:
        keep_indexed(redis, Lease(redis, duty), stay=False, beside=erasing)


def shorten(redis: Redis, lease: str) -> None:
    """Shorten a lease that lasts longer than any does, as Redis's clock was set back since.

    Its holder may be gone, as after a restart of the machine: nobody would have the duty until the
    clock is again where it was.
    """
    if redis.pttl(lease) > LEASE_TTL_MS:
        redis.pexpire(lease, LEASE_TTL_MS)


def is_free(holder: Any, duty: Duty, name: str) -> bool:
    """Return whether no worker has a duty.

    A lease in our own name, while we do not attend the duty, is our dead predecessor's.
    """
    if holder is None:
        return True
    return bool(holder.decode() == name) and duty not in attended
