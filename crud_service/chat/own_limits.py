"""The rate limits that applications have of their own: in the table, copied to Redis.

numbers.lua reads them from Redis. The copy is written with each change, and compared with the
table by the worker: what a lost Redis, a restored one, or a process that died between the commit
and the copy left behind is repaired there. Redis is read before the table, and written only where
it has not changed since, so an older state of the table never replaces a newer one.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
from redis import Redis, RedisError

from contract import keys
from contract.shards import ONLY, Shard
from crud_service.stores.database import Connection, as_text, run
from crud_service.stores.redis_clients import attempt, shards
from crud_service.stores.transactions import TRANSACTION
from web.problems import PreconditionFailed

LIMITS_A_CALL = 500

_REPLACE = (
    Path(__file__).with_name("lua").joinpath("replace_limits.lua").read_text(encoding="utf-8")
)
_CHANGE = f"""
UPDATE applications SET rate_limit = %s, rate_burst = %s
WHERE access_token = %s AND (rate_limit, rate_burst) IS NOT DISTINCT FROM (%s::int, %s::int)
RETURNING {TRANSACTION}
"""
_ALL = """
SELECT access_token::text, rate_limit, rate_burst FROM applications WHERE rate_limit IS NOT NULL
"""
_ONE = f"{_ALL} AND access_token = %s"


class OwnLimit(NamedTuple):
    """An application's own limit, with no rate if it has none."""

    rate: int | None
    burst: int | None


class LimitChange(NamedTuple):
    """A limit to set, and the one that it was decided on."""

    seen: OwnLimit
    wanted: OwnLimit


def change_limit(connection: Connection, access_token: str, limit: LimitChange) -> bytes:
    """Set an application's own limit in a transaction; return its TRANSACTION.

    Raises PreconditionFailed unless the limit is the one that was seen.
    """
    row = connection.execute(_CHANGE, (*limit.wanted, access_token, *limit.seen)).fetchone()
    if row is None:
        raise PreconditionFailed
    transaction_id: bytes = row[0]
    return transaction_id


def copy_limit(access_token: str) -> None:
    """Copy the limit of an application; if Redis is unavailable, the worker will do it.

    Raises StoreUnavailable if PostgreSQL is.
    """
    shard = shards().of(access_token)
    limits = shard.key(keys.LIMITS)

    def copy(redis: Redis) -> None:
        value: Any = redis.hget(limits, access_token)
        seen = {} if value is None else {access_token: value.decode()}
        wanted = run(lambda connection: limits_in_table(connection, _ONE, access_token))
        replace(redis, limits, seen, wanted)

    attempt(shard, copy, "limit not copied")


def synchronise_limits(connection: Connection, redis: Redis, shard: Shard = ONLY) -> int:
    """Compare a shard's limits with the table, unless a worker did so a moment ago.

    Returns the number of repairs. Raises RedisError, or psycopg.Error.
    """
    synchronised = shard.key(keys.LIMITS_SYNCHRONISED)
    if redis.exists(synchronised):
        return 0
    # Before anything is read: a Redis that loses its data meanwhile loses this as well.
    redis.set(synchronised, "1", ex=keys.LIMITS_SYNCHRONISED_TTL_SECONDS)
    try:
        return repair_shard(connection, redis, shard)
    except (psycopg.Error, RedisError):
        with suppress(RedisError):
            redis.delete(synchronised)
        raise


def repair_shard(connection: Connection, redis: Redis, shard: Shard) -> int:
    """Compare a shard's limits with the table, and return the number of repairs."""
    limits = shard.key(keys.LIMITS)
    seen = {
        token.decode(): limit.decode()
        for token, limit in redis.hscan_iter(limits, count=LIMITS_A_CALL)
    }
    every = limits_in_table(connection, _ALL).items()
    wanted = {token: limit for token, limit in every if shards().of(token) == shard}
    return replace(redis, limits, seen, wanted)


def limits_in_table(connection: Connection, query: str, *parameters: object) -> dict[str, str]:
    """Return the limits that a query finds, by access token, as Redis holds them."""
    rows = connection.execute(query, parameters)
    return {as_text(token): encode(rate, burst) for token, rate, burst in rows}


def encode(rate: int, burst: int | None) -> str:
    """Return a limit as Redis holds it; without a burst it is what the rate allows in a second."""
    return f"{rate} {burst or max(rate, 1)}"


def replace(redis: Redis, limits: str, seen: Mapping[str, str], wanted: Mapping[str, str]) -> int:
    """Write the limits that differ from those that were seen; return how many."""
    differing = [
        (token, seen.get(token, ""), wanted.get(token, ""))
        for token in seen.keys() | wanted.keys()
        if seen.get(token) != wanted.get(token)
    ]
    replaced = 0
    for start in range(0, len(differing), LIMITS_A_CALL):
        some = differing[start : start + LIMITS_A_CALL]
        replaced += int(
            redis.eval(_REPLACE, 1, limits, *[word for triple in some for word in triple])
        )
    return replaced
