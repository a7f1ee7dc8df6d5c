"""Changes the number of shards, while no process of the services is running.

1. PostgreSQL notes both numbers. From here on no sequence is seeded and no process starts.
2. For each former shard: its sequences are deleted, so that no number is handed out any more, and
   its stream is stored. Both are repeated until there is nothing left, in case a process has been
   forgotten: without a sequence it accepts nothing, and it seeds none once nothing waits (`empty`).
3. Idempotency keys are copied to where their applications are now; everything else of the former
   shards is deleted. Sequences are seeded from the tables, which have all numbers.
4. PostgreSQL forgets the former number: processes may start.

Each step may be repeated, so whatever is interrupted is finished by running it again. Keys of a
former number of shards must not stay: they would be found again, out of date, if the same number
was ever chosen once more.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Any

from django.conf import settings
from redis import Redis

from contract import keys
from contract.shards import Shard, Shards
from crud_service.chat.own_limits import repair_shard
from crud_service.persist.drain import drain_accepted
from crud_service.stores.database import Connection, run
from crud_service.stores.installed_shards import installed
from crud_service.stores.redis_clients import connect_worker, shards, worker_redis

KEYS_AT_ONCE = 500
LOOK_SECONDS = 0.2
QUIET_LOOKS = 2

BEGIN = "UPDATE shards SET former = size, size = %s WHERE former IS NULL AND size <> %s"
END = "UPDATE shards SET former = NULL"
# What a single shard has, whose keys have no tag by which they could be found.
UNTAGGED = (
    *("sequence:*", "lock:sequence:*", "idempotency:*", "limiter:*", "batch:*"),
    *(keys.ACCEPTED, keys.LIMITS, keys.LIMITS_SYNCHRONISED, keys.WORKER_METRICS),
    *(keys.LEASE_PERSIST, keys.LEASE_INDEX, keys.WAKE_UP_PERSIST, keys.WAKE_UP_INDEX),
    *(keys.DOORBELL_INDEX, keys.WORKERS),
)


class AnotherChangeError(Exception):
    """A change to another number of shards has begun and must be finished first."""


class LeftBehindError(Exception):
    """Entries wait at the former address, in shards that are not to be changed."""


def reshard(former_url: str, say: Callable[[str], object]) -> None:
    """Change the number of shards to SHARDS, from those at `former_url`, usually REDIS_URL.

    `say` is called with a line of text after each step. Raises AnotherChangeError,
    LeftBehindError, and the errors of psycopg and redis-py.
    """
    former = run(begin)
    if former is None:
        if former_url != settings.REDIS_URL:
            look_behind(former_url)
        say(f"there are {settings.SHARDS} shards already")
        return
    for shard in Shards(former):
        redis = connect_worker(shard=shard, url=former_url)
        empty(redis, shard)
        copied = copy_idempotency_keys(redis, shard)
        delete_all(redis, patterns_of(shard))
        say(f"shard {shard.number} of {former}: {copied} idempotency keys copied")
    for shard in shards():
        run(partial(repair_shard, redis=worker_redis(shard.number), shard=shard))
    run(lambda connection: connection.execute(END))
    say(f"there are {settings.SHARDS} shards now")


def begin(connection: Connection) -> int | None:
    """Note that the number changes; return the former one, None if there is nothing to change.

    Raises AnotherChangeError during a change to a third number.
    """
    installed(connection)
    connection.execute(BEGIN, (settings.SHARDS, settings.SHARDS))
    found = installed(connection)
    if found.size != settings.SHARDS:
        raise AnotherChangeError(f"run it with SHARDS={found.size} first")
    return found.former


def look_behind(former_url: str) -> None:
    """Raise LeftBehindError if entries wait at the former address, which nobody would store."""
    for shard in shards():
        entries = connect_worker(shard=shard, url=former_url).xlen(shard.key(keys.ACCEPTED))
        if entries:
            raise LeftBehindError(
                f"there are {settings.SHARDS} shards already, but {entries} entries wait at the "
                "former address: have a worker store them there first"
            )


def empty(redis: Redis, shard: Shard) -> None:
    """Store what waits in a shard, after which nothing more can be accepted there.

    A process that was forgotten seeds sequences from entries that wait. One that has read an entry
    before it was stored holds a lock, without which it cannot write the number, so locks are
    deleted, too. If it writes while one look passes by, the next look finds the sequence.
    """
    stream, sequences = shard.key(keys.ACCEPTED), f"{shard.tag}sequence:*"
    seeded = [sequences, keys.seed_lock(sequences)]
    quiet_looks = 0
    while quiet_looks < QUIET_LOOKS:
        is_waiting = redis.xlen(stream) > 0  # asked first: what is seeded later finds no entry
        is_quiet = not delete_all(redis, seeded) and not is_waiting
        quiet_looks = quiet_looks + 1 if is_quiet else 0
        if is_waiting:
            drain_accepted(redis, shard)
            if redis.xlen(stream):
                time.sleep(LOOK_SECONDS)  # PostgreSQL is unavailable, or a worker has the lease


def copy_idempotency_keys(redis: Redis, shard: Shard) -> int:
    """Copy the idempotency keys of a former shard to the present ones; return how many."""
    copied = 0
    pattern = f"{shard.tag}idempotency:*"
    for names in chunks(redis.scan_iter(match=pattern, count=KEYS_AT_ONCE)):
        reading = redis.pipeline(transaction=False)
        for name in names:
            reading.get(name)
            reading.pttl(name)
        replies = reading.execute()
        writing: defaultdict[int, list[tuple[str, bytes, int]]] = defaultdict(list)
        for name, value, ttl_ms in zip(names, replies[::2], replies[1::2], strict=True):
            plain = name.decode()[len(shard.tag) :]
            _, token, _ = plain.split(":", 2)
            if value is not None and ttl_ms > 0:
                target = shards().of(token)
                writing[target.number].append((target.key(plain), value, ttl_ms))
        for number, items in writing.items():
            pipeline = worker_redis(number).pipeline(transaction=False)
            for key, value, ttl_ms in items:
                pipeline.set(key, value, px=ttl_ms)
            pipeline.execute()
            copied += len(items)
    return copied


def patterns_of(shard: Shard) -> list[str]:
    """Return patterns of all keys of a shard.

    They fix where the tag stands: a client may use one in an `Idempotency-Key` of its own.
    """
    return [f"{shard.tag}*", keys.seed_lock(f"{shard.tag}*")] if shard.tag else list(UNTAGGED)


def delete_all(redis: Redis, patterns: Iterable[str]) -> int:
    """Delete the keys of some patterns; return how many there were."""
    deleted = 0
    for pattern in patterns:
        for names in chunks(redis.scan_iter(match=pattern, count=KEYS_AT_ONCE)):
            deleted += int(redis.unlink(*names))
    return deleted


def chunks(items: Iterable[Any]) -> Iterator[list[Any]]:
    every = iter(items)
    while some := list(islice(every, KEYS_AT_ONCE)):
        yield some
