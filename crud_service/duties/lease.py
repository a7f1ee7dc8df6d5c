"""Leases in Redis: one worker at a time persists a shard, one indexes; the others stand by.

A lease only avoids duplicate work, it is not a lock: a frozen holder may wake up after
another worker has taken its lease, so everything done under a lease is idempotent.
"""

import logging
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from redis import Redis, RedisError
from redis.client import Pipeline

from contract import keys, tasks
from contract.shards import ONLY, Shard
from crud_service.duties.background import running

logger = logging.getLogger(__name__)

_LUA = Path(__file__).with_name("lua")
_TAKE = (_LUA / "take_lease.lua").read_text(encoding="utf-8")
_GIVE_BACK = (_LUA / "give_back_lease.lua").read_text(encoding="utf-8")

# Redis writes each renewal to disk: no more often than needed, but with time for a retry.
RENEWAL_SECONDS = 1.0
# The minimum delay before the next attempt after a failure, by any process.
PAUSE_MS = 1000


@dataclass(frozen=True, slots=True)
class Duty:
    """Work that one worker at a time does, for as long as it holds the lease."""

    task: str
    queue: str
    lease: str
    # The key that exists while a task is on its way.
    flag: str
    # The key where work waits, and the command that returns its length.
    waiting: str
    length: str
    # The shard of these keys.
    shard: Shard


# Set when this process is to end. Celery's warm shutdown waits for running tasks but does not
# notify them; ours run for as long as the worker does, so they check it between batches.
stopping = threading.Event()
# The duties for which a task of this process is running.
attended: set[Duty] = set()
# When the work of a duty last made progress, in monotonic seconds.
progress: dict[Duty, float] = {}
# Held while a thread looks whether a duty is attended, and attends to it.
_attending = threading.Lock()


def persisting(shard: Shard = ONLY) -> Duty:
    """Return the duty of persisting a shard."""
    names = (keys.LEASE_PERSIST, keys.WAKE_UP_PERSIST, keys.ACCEPTED)
    lease, flag, waiting = map(shard.key, names)
    return Duty(tasks.PERSIST_ACCEPTED, tasks.PERSIST_QUEUE, lease, flag, waiting, "XLEN", shard)


def indexing(shard: Shard = ONLY) -> Duty:
    """Return the duty of indexing, whose keys are in the first shard."""
    names = (keys.LEASE_INDEX, keys.WAKE_UP_INDEX, keys.DOORBELL_INDEX)
    lease, flag, waiting = map(shard.key, names)
    return Duty(tasks.INDEX_PENDING, tasks.INDEX_QUEUE, lease, flag, waiting, "LLEN", shard)


def may_wake(redis: Redis, duty: Duty) -> bool:
    """Return whether no task of a duty is on its way; if so, flag one as sent."""
    return bool(redis.set(duty.flag, b"", nx=True, px=keys.WAKE_UP_TTL_MS))


def record_progress(duty: Duty) -> None:
    """Note that a duty makes progress now: a sweep looks for those that have stopped."""
    progress[duty] = time.monotonic()


class Lease:
    """The lease of a duty, as one holder sees it.

    `holder` names the worker; a worker that is restarted under the same name
    continues with the lease of its dead predecessor. `redis` is used both by the
    renewing thread and by the caller: pass a dedicated client with a short timeout.
    """

    def __init__(
        self,
        redis: Redis,
        duty: Duty,
        holder: str = "",
        ttl_ms: int = keys.LEASE_TTL_MS,
        renewal_seconds: float = RENEWAL_SECONDS,
    ) -> None:
        self.duty = duty
        self._redis = redis
        self.renewal_seconds = renewal_seconds
        self.holder = holder or secrets.token_hex(8)
        self._ttl_ms = ttl_ms
        self._ends_at = 0.0
        self._take = redis.register_script(_TAKE)
        self._give_back = redis.register_script(_GIVE_BACK)

    def take(self) -> bool:
        """Take the lease, or renew it; return False if another worker holds it."""
        asked_at = time.monotonic()
        ours = bool(self._take(keys=[self.duty.lease], args=[self.holder, self._ttl_ms]))
        self._ends_at = asked_at + self._ttl_ms / 1000 if ours else 0.0
        return ours

    def take_with(self, pipeline: Pipeline) -> None:
        """Add a command to a pipeline that takes the lease, or renews it: a write."""
        pipeline.eval(_TAKE, 1, self.duty.lease, self.holder, self._ttl_ms)

    def leave_server(self) -> None:
        """Close idle connections: the next command resolves the server's address again."""
        self._redis.connection_pool.disconnect(inuse_connections=False)

    def is_held(self) -> bool:
        """Return whether the lease is certainly still ours, without a round trip.

        The clock keeps running while a process is frozen, so the process knows at once.
        """
        return time.monotonic() < self._ends_at

    def hold(self) -> bool:
        """Return whether to go on: we hold the lease, or could take it again after it expired."""
        record_progress(self.duty)
        return self.is_held() or self.take()

    def give_back(self, pause_ms: int = 0) -> bool:
        """Release the lease at once; return whether it was ours and work is waiting.

        With a pause, no worker is woken before the pause is over. If Redis is unavailable,
        the lease expires by itself.
        """
        self._ends_at = 0.0
        duty = self.duty
        try:
            waiting = self._give_back(
                keys=[duty.lease, duty.flag, duty.waiting],
                args=[self.holder, pause_ms, duty.length],
            )
        except RedisError:
            return False
        return bool(waiting)


def work_under(lease: Lease, work: Callable[[], None]) -> bool:
    """Work under the lease, unless another worker, or another thread of this one, has it.

    Returns whether work is waiting that came too late for this call and woke no worker.
    """
    record_progress(lease.duty)  # first: the sweep reads it for every attended duty
    with _attending:
        if lease.duty in attended:
            return False
        attended.add(lease.duty)
    try:
        if not lease.take():
            return False
        with running("renew-lease", partial(renew, lease)):
            work()
    except Exception:
        lease.give_back(PAUSE_MS)
        raise
    finally:
        attended.discard(lease.duty)
    return lease.give_back()


def renew(lease: Lease, over: threading.Event) -> None:
    """Renew the lease until `over` is set; the work itself checks whether the lease was lost."""
    while not over.wait(lease.renewal_seconds):
        try:
            if not lease.take():
                logger.warning("lease lost", extra={"lease": lease.duty.lease})
        except RedisError as error:
            logger.warning("lease not renewed", extra={"reason": type(error).__name__})
