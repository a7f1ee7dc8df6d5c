"""Every client of Redis in this service, except for Celery's own connections to the broker.

A client is for the keys of one shard, by its number; those of no application are in the first one.
"""

import logging
import time
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import redis.asyncio
from django.conf import settings
from redis import Redis, RedisError
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.exceptions import AskError, ClusterDownError, MasterDownError, ReadOnlyError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry

from contract.shards import Shard, Shards
from crud_service.stores.circuit import circuit_of
from crud_service.stores.shard_connections import look_up, look_up_async

logger = logging.getLogger(__name__)

T = TypeVar("T")

# Of a request, which holds a thread meanwhile.
API_TIMEOUT_SECONDS = 0.5
# A failure that takes longer is not risked again at once.
SLOW_ATTEMPT_SECONDS = 0.25
# Longer than any blocking read; without a timeout a half-open connection hangs a worker forever.
WORKER_TIMEOUT_SECONDS = 5
# A renewal that takes longer than this may be too late anyway.
LEASE_TIMEOUT_SECONDS = 1
# After this long without an announcement a listener sends a ping, and it gives the connection
# up if that is not answered within the same time.
LISTENER_CONNECT_SECONDS = 2.0
LISTENER_CHECK_SECONDS = 5.0
# After one of these the server is not the primary any more, or not that of the key (MOVED is a kind
# of ASK). The connection stays open, so it is closed, and the address resolved again.
MOVED = (AskError, ClusterDownError, MasterDownError, ReadOnlyError)
# The name under which Redis lists our connections; the health check reads that list.
WORKER_NAME = "worker"


def shards() -> Shards:
    """Return the shards of this installation."""
    return shards_of(settings.SHARDS)


@cache
def shards_of(size: int) -> Shards:
    return Shards(size)


def connect(
    timeout_seconds: float, retry: Retry, shard: Shard, url: str = "", **options: Any
) -> Redis:
    """Return a client for a shard, at REDIS_URL unless another URL is given."""
    url = url or settings.REDIS_URL
    return Redis.from_url(
        url,
        **look_up(url, shard),
        socket_timeout=timeout_seconds,
        socket_connect_timeout=min(3, timeout_seconds),
        socket_keepalive=True,
        retry=retry,
        retry_on_error=list(MOVED),
        **options,
    )


@cache
def api_redis(shard: int) -> Redis:
    """Return the client for requests, which retries a failed command once, at once."""
    return connect(API_TIMEOUT_SECONDS, Retry(NoBackoff(), 1), shards()[shard])


def attempt(shard: Shard, call: Callable[[Redis], T], failure: str) -> T | None:
    """Call a shard's Redis for a request that can do without it.

    After a slow failure the next request calls it a second later: each holds a thread meanwhile.

    Args:
        shard: the shard.
        call: does it, given the client.
        failure: the log's words for an error of Redis.

    Returns:
        What `call` returns; None if Redis failed, or was not called.
    """
    circuit = circuit_of(f"{__name__} {shard.number}", settings.REDIS_URL, pause=1.0)
    if not circuit.may_ask():
        return None
    started = time.monotonic()
    try:
        result = call(api_redis(shard.number))
    except RedisError as error:
        logger.warning("%s: %s", failure, error)
        # Not only a TimeoutError: looking up the server of a shard fails with another one.
        if time.monotonic() - started > SLOW_ATTEMPT_SECONDS:
            circuit.failed()
        return None
    circuit.succeeded()
    return result


@cache
def hint_redis() -> Redis:
    """Return the client for wake-ups and announcements: hints, which are never retried."""
    return connect(API_TIMEOUT_SECONDS, Retry(NoBackoff(), 0), shards().first)


def connect_worker(
    timeout_seconds: float = WORKER_TIMEOUT_SECONDS,
    client_name: str = WORKER_NAME,
    shard: Shard | None = None,
    url: str = "",
) -> Redis:
    """Return a client that retries commands: everything the worker does is idempotent.

    Args:
        timeout_seconds: how long a command may take.
        client_name: by which Redis lists its connections.
        shard: whose keys it is for; the first one by default.
        url: where that shard is, if not at REDIS_URL.
    """
    return connect(
        timeout_seconds,
        Retry(ExponentialBackoff(cap=0.1, base=0.02), 1, (RedisConnectionError,)),
        shard or shards().first,
        url,
        client_name=client_name,
        # redis-py parses RESP 2 replies fastest, and their types are the most stable.
        protocol=2,
        health_check_interval=10,
    )


def connect_listener() -> redis.asyncio.Redis:
    """Return a client for the event loop that listens to a channel."""
    return listener_of(settings.REDIS_URL, **look_up_async(settings.REDIS_URL, shards().first))


def listener_of(url: str, **options: Any) -> redis.asyncio.Redis:
    """Return such a client for an address."""
    return redis.asyncio.Redis.from_url(
        url,
        socket_connect_timeout=LISTENER_CONNECT_SECONDS,
        # For the handshake; how long to wait for an announcement is said at each read.
        socket_timeout=LISTENER_CONNECT_SECONDS,
        socket_keepalive=True,
        **options,
    )


@cache
def worker_redis(shard: int) -> Redis:
    """Return the worker's client; redis-py opens new connections in a forked child."""
    return connect_worker(shard=shards()[shard])


@cache
def lease_redis(shard: int) -> Redis:
    """Return the client for leases, which no blocking read of another client delays."""
    return connect_worker(LEASE_TIMEOUT_SECONDS, shard=shards()[shard])


def sweep_name(queue: str) -> str:
    """Return the name that a worker's connection for a queue has in Redis."""
    return f"{WORKER_NAME}-{queue}"
