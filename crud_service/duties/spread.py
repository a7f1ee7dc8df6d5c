"""Spreads the shards over the workers: each persists its share, and leaves the rest to the others.

Every worker enrols once a second. One that holds more leases than its share gives one back, and one
that has its share takes no more, so a task for a shard that nobody persists gets to a worker that
has room: brokers serve their consumers in turns. A worker that could not persist is not counted by
others for a while, or they would leave its share to it.
"""

import logging
import math
import threading
import time
from contextlib import suppress
from pathlib import Path

from redis import Redis, RedisError

from contract import keys
from contract.shards import Shards
from crud_service.duties.lease import Duty, attended

logger = logging.getLogger(__name__)

ENROL_SECONDS = 1.0
# For how long a worker that could not persist is not counted.
UNFIT_SECONDS = 10.0

_ENROL = Path(__file__).with_name("lua").joinpath("enrol_worker.lua").read_text(encoding="utf-8")


class Share:
    """How many shards this process may persist."""

    def __init__(self, unfit_seconds: float = UNFIT_SECONDS) -> None:
        self._unfit_seconds = unfit_seconds
        self._most = math.inf
        self._failed_at = -math.inf

    def enrol(self, redis: Redis, shards: Shards, name: str) -> None:
        """Share the shards with all counted workers, and be counted for a moment; or raise.

        A worker that could not persist is not counted, but its share follows the others: when one
        of them is gone, there may be nobody else.
        """
        enrolled = shards.first.key(keys.WORKERS)
        is_unfit = time.monotonic() - self._failed_at < self._unfit_seconds
        remembered_ms = 0 if is_unfit else keys.LEASE_TTL_MS
        workers: int = redis.eval(_ENROL, 1, enrolled, name, remembered_ms, keys.LEASE_TTL_MS)
        self._most = math.ceil(len(shards) / workers)

    def note_failure(self) -> None:
        """Note that this process could not persist."""
        self._failed_at = time.monotonic()

    def is_taken(self, duty: Duty) -> bool:
        """Return whether other shards are all that this process may persist."""
        return len(attended - {duty}) >= self._most

    def is_exceeded(self, duty: Duty) -> bool:
        """Return whether this process persists too many shards, and this one is to be left."""
        mine = set(attended)
        last = max(mine, key=lambda it: it.shard.number, default=duty)
        return len(mine) > self._most and duty == last


SHARE = Share()


def keep_enrolled(
    redis: Redis, shards: Shards, name: str, over: threading.Event, share: Share = SHARE
) -> None:
    """Enrol a worker once a second, and take it off the list at the end.

    Others would leave its share to it for as long as it is remembered.

    Args:
        redis: the server of the first shard.
        shards: all shards.
        name: the worker's, which no other has.
        over: set to end.
        share: how many shards this process may persist.
    """
    while not over.is_set():
        try:
            share.enrol(redis, shards, name)
        except Exception as error:  # the thread must go on: without it the share stays what it is
            logger.warning("not enrolled", extra={"reason": type(error).__name__})
        over.wait(ENROL_SECONDS)
    with suppress(RedisError):
        redis.zrem(shards.first.key(keys.WORKERS), name)
