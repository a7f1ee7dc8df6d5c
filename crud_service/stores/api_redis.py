"""The connection to Redis on the API's path, where nothing waits for Redis long."""

from functools import cache

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

TIMEOUT_SECONDS = 0.5


@cache
def client() -> "redis.Redis":
    """A pooled client that gives up soon; every use of it is a read, tried twice at most."""
    return redis.Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
        socket_keepalive=True,
        retry=Retry(NoBackoff(), 1),
    )
