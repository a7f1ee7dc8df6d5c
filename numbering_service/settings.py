"""Settings of the service, all of them from the environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from redis.asyncio import Redis

from contract.known_secrets import is_known_secret
from contract.settings_reading import (
    SettingsError,
    address,
    broker_url,
    log_level,
    redis_url,
    switch,
    text,
    token,
    whole_number,
)
from contract.shards import MAX_SHARDS
from numbering_service.rate_limits import MAX_RATE, Rate
from numbering_service.redis_address import Address
from web.cors import parse_origins

# A creation may be sent to Redis again for so long: well within the time for which a batch's answer
# is kept there (`BATCH_TTL_SECONDS`), or it would be numbered twice.
MAX_PATIENCE_SECONDS = 30
LOCAL_INTERNAL_TOKEN = "local-internal-token"  # noqa: S105 - refused outside of a local stack


@dataclass(frozen=True, slots=True)
class Settings:
    """The service's settings; docs/settings.md has a row for each variable."""

    redis_url: str
    broker_url: str
    crud_url: str
    crud_public_url: str
    internal_token: str
    host: str
    port: int
    processes: int
    max_backlog: int
    max_waiting: int
    redis_patience_seconds: float
    replicas_to_acknowledge: int
    shards: int
    default_rate: Rate
    cors_origins: tuple[str, ...]
    log_level: str

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> "Settings":
        """Read the environment; raises SettingsError for an invalid value."""
        secret = internal_token(env)
        redis = redis_url(env, connect)
        crud_url = address(env, "CRUD_URL", "http://127.0.0.1:3000")
        return cls(
            redis_url=redis,
            broker_url=broker_url(env, redis),
            crud_url=crud_url,
            crud_public_url=address(env, "CRUD_PUBLIC_URL") or crud_url,
            internal_token=secret,
            host=text(env, "HOST", "127.0.0.1"),
            port=whole_number(env, "NUMBERING_PORT", 8080, least=1),
            processes=whole_number(env, "NUMBERING_PROCESSES", 1, least=1),
            max_backlog=whole_number(env, "MAX_BACKLOG", 1_000_000, least=1),
            max_waiting=whole_number(env, "MAX_WAITING", 10_000, least=1),
            redis_patience_seconds=whole_number(
                env, "REDIS_PATIENCE_SECONDS", 8, least=1, most=MAX_PATIENCE_SECONDS
            ),
            replicas_to_acknowledge=whole_number(env, "REPLICAS_TO_ACKNOWLEDGE", 0),
            shards=whole_number(env, "SHARDS", 1, least=1, most=MAX_SHARDS),
            default_rate=default_rate(env),
            cors_origins=parse_origins(env.get("CORS_ORIGINS", "")),
            log_level=log_level(env),
        )


def connect(url: str) -> None:
    """Make the connections that this service has to Redis, without opening them."""
    Redis.from_url(url).connection_pool.make_connection()  # type: ignore[no-untyped-call] # untyped in redis-py
    Address.from_url(url)


def internal_token(env: Mapping[str, str]) -> str:
    """Return the token for crud_service's internal endpoint.

    Raises SettingsError for an unusable one, and in a container that has no secret of its own.
    """
    secret = token(env, "INTERNAL_TOKEN")
    in_container, local = switch(env, "CONTAINER"), switch(env, "LOCAL_STACK")
    if in_container and not local and is_known_secret(secret):
        raise SettingsError(
            "INTERNAL_TOKEN must be a secret of your own (or LOCAL_STACK=1 say that this is local)"
        )
    return secret or LOCAL_INTERNAL_TOKEN


def default_rate(env: Mapping[str, str]) -> Rate:
    """Return the limit of each application without one of its own; raises SettingsError."""
    rate = whole_number(env, "RATE_LIMIT", 0, most=MAX_RATE)
    # A second's worth: a client that sends all of its share at once, once a second, is let through.
    return Rate(rate, whole_number(env, "RATE_BURST", max(rate, 1), least=1, most=MAX_RATE))
