"""The worker's own connections to Redis, separate from the broker's."""

from functools import cache

from django.conf import settings
from redis import Redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry

# Longer than any blocking read; without a timeout a half-open connection hangs a worker forever.
SOCKET_TIMEOUT_SECONDS = 5
# A renewal that takes longer than this may be too late anyway.
LEASE_TIMEOUT_SECONDS = 1
# The name under which Redis lists our connections; the health check reads that list.
CLIENT_NAME = "worker"


def sweep_name(queue: str) -> str:
    """Return the name of the connection that the sweep of a queue's child uses."""
    return f"{CLIENT_NAME}-{queue}"


def connect(
    socket_timeout: float = SOCKET_TIMEOUT_SECONDS, client_name: str = CLIENT_NAME
) -> Redis:
    """Return a client that retries commands: everything the worker does is idempotent.

    Timeouts are in seconds.
    """
    return Redis.from_url(
        settings.REDIS_URL,
        client_name=client_name,
        # redis-py parses RESP 2 replies fastest, and their types are the most stable.
        protocol=2,
        socket_timeout=socket_timeout,
        socket_connect_timeout=min(3, socket_timeout),
        socket_keepalive=True,
        health_check_interval=10,
        retry=Retry(ExponentialBackoff(cap=0.1, base=0.02), 1, (RedisConnectionError,)),
    )


@cache
def worker_redis() -> Redis:
    """Return this process's client; redis-py opens new connections in a forked child."""
    return connect()


@cache
def lease_redis() -> Redis:
    """Return the client for leases, which no blocking read of another client delays."""
    return connect(LEASE_TIMEOUT_SECONDS)
