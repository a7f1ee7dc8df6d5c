"""Writes to Redis that replicas must acknowledge, as later steps rely on them."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from redis import Redis, RedisError
from redis.client import Pipeline

from contract.replicas import acknowledgement, is_on_disk, is_received, shortfall

# For each of the two commands that wait, of a request: together they are below its timeout.
API_WAIT_MS = 200
WORKER_WAIT_MS = 1000


class NotAcknowledgedError(RedisError):
    """Too few replicas have a write in time. It is there, but may be lost with the primary."""


def write_acknowledged(
    redis: Redis, write: Callable[[Pipeline], object], wait_ms: int = API_WAIT_MS
) -> list[Any]:
    """Write, and wait until REPLICAS_TO_ACKNOWLEDGE replicas have it on disk.

    All commands are sent together, so that a retry on another connection repeats the write. If
    they are not acknowledged, the next attempt connects again, as the address may lead to another
    primary by then.

    Args:
        redis: the primary.
        write: adds the commands to a pipeline.
        wait_ms: how many milliseconds to wait for the replicas.

    Returns:
        The replies to the commands. Raises NotAcknowledgedError, and redis-py's errors.
    """
    replicas = settings.REPLICAS_TO_ACKNOWLEDGE
    with redis.pipeline(transaction=False) as pipeline:
        write(pipeline)
        written = len(pipeline)
        for command in acknowledgement(replicas, wait_ms) if replicas else ():
            pipeline.execute_command(*command)  # type: ignore[no-untyped-call] # untyped in redis-py
        replies: list[Any] = pipeline.execute()
    if replicas:
        received, on_disk = replies[written:]
        if not is_received(received, replicas) or not is_on_disk(on_disk, replicas):
            redis.connection_pool.disconnect(inuse_connections=False)
            short = on_disk if is_received(received, replicas) else received
            raise NotAcknowledgedError(shortfall(short, replicas))
    return replies[:written]
