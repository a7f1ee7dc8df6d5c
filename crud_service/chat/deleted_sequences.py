"""Marks in Redis by which numbers.lua refuses creations in what is deleted.

PostgreSQL decides what is deleted; the marks only follow. There is no moment in which one says
so and the other does not, not even after a fail-over: with REPLICAS_TO_ACKNOWLEDGE, replicas
acknowledge the first mark. The second needs no acknowledgement: if it is lost, the sequence is
missing once the first has expired, and looking it up finds the deletion.

1. `deleting` is written before the transaction. Creations are answered 503 from now on, since
   nobody can say yet what they will find.
2. The transaction commits, or does not.
3. `deleted` replaces the mark, or it is removed.

A process that is killed in between leaves `deleting`, which expires within seconds. Then the
sequence is missing, and seeding asks crud_service, as it does whenever Redis has lost a key:
the answer is what PostgreSQL says. `erase` writes `deleted` once more, in case of a commit that
came after the mark had expired.
"""

from pathlib import Path

import redis

from contract import keys
from contract.shards import Shard
from crud_service.stores.redis_clients import api_redis
from crud_service.stores.replicated_writes import write_acknowledged
from web.problems import StoreUnavailable

_LUA = Path(__file__).with_name("lua")
_MARK = (_LUA / "mark_sequence.lua").read_text(encoding="utf-8")
_UNMARK = (_LUA / "unmark_sequence.lua").read_text(encoding="utf-8")


def hold(shard: Shard, sequence: str) -> None:
    """Refuse creations while a deletion is decided; raises StoreUnavailable without Redis.

    `sequence` is a key of the shard, here and below.
    """
    try:
        write_acknowledged(
            api_redis(shard.number),
            lambda pipeline: mark(pipeline, sequence, keys.DELETING, keys.DELETING_TTL_MS),
        )
    except redis.RedisError as error:
        raise StoreUnavailable.nothing_changed() from error


def refuse(client: redis.Redis, sequence: str) -> None:
    """Refuse creations in what was deleted; raises RedisError."""
    mark(client, sequence, keys.DELETED, keys.SEQUENCE_TTL_SECONDS * 1000)


def release(shard: Shard, sequence: str) -> None:
    """Allow creations again, as nothing was deleted; raises RedisError."""
    api_redis(shard.number).eval(_UNMARK, 1, sequence)


def mark(client: redis.Redis, sequence: str, state: str, ttl_ms: int) -> None:
    client.eval(_MARK, 2, sequence, keys.seed_lock(sequence), state, str(ttl_ms))
