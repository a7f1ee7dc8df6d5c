"""The Redis client for API requests, with short timeouts."""

from functools import cache

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

TIMEOUT_SECONDS = 0.5


def connect(*, retries: int, timeout_seconds: float = TIMEOUT_SECONDS) -> "redis.Redis":
    """Return a new pooled client that retries failed commands at once."""
    return redis.Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
        socket_keepalive=True,
        retry=Retry(NoBackoff(), retries),
    )


@cache
def client() -> "redis.Redis":
    """Return the pooled client; it is only used for reads, which it retries once."""
    return connect(retries=1)
