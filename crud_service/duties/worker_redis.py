"""The worker's own connection to Redis, beside the broker's."""

from functools import cache

from django.conf import settings
from redis import Redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry

# Longer than any blocking read; without a time-out a half-open link hangs a worker for good.
SOCKET_TIMEOUT_SECONDS = 5
# A renewal that takes longer than this may be too late anyway.
LEASE_TIMEOUT_SECONDS = 1
# As Redis lists our connections; a worker's health is read from there.
CLIENT_NAME = "worker"


def sweep_name(queue: str) -> str:
    """The name of the connection that is used every second by the child of a queue."""
    return f"{CLIENT_NAME}-{queue}"


def connect(
    socket_timeout: float = SOCKET_TIMEOUT_SECONDS, client_name: str = CLIENT_NAME
) -> Redis:
    """A client for what may be sent twice: everything the worker does is idempotent."""
    return Redis.from_url(
        settings.REDIS_URL,
        client_name=client_name,
        # Replies of RESP 2 are what redis-py parses fastest and names most stably.
        protocol=2,
        socket_timeout=socket_timeout,
        socket_connect_timeout=min(3, socket_timeout),
        socket_keepalive=True,
        health_check_interval=10,
        retry=Retry(ExponentialBackoff(cap=0.1, base=0.02), 1, (RedisConnectionError,)),
    )


@cache
def worker_redis() -> Redis:
    """This process's client; redis-py makes new connections in a forked child."""
    return connect()


@cache
def lease_redis() -> Redis:
    """The client that renews leases, whatever the others wait for."""
    return connect(LEASE_TIMEOUT_SECONDS)
