"""The keys in Redis of what was deleted."""

from collections.abc import Callable
from itertools import islice

from redis import Redis

from contract import keys
from crud_service.chat.deleted_sequences import refuse
from crud_service.erase.rows import Deletion
from crud_service.stores.redis_clients import shards

# How many keys Redis looks at, or forgets, at a time, which takes it less than a millisecond.
KEYS_AT_ONCE = 500

# Returns the client for a shard, by its number.
Clients = Callable[[int], Redis]


def refuse_creations(redis_of: Clients, deletion: Deletion) -> None:
    """Have creations refused, where the process that deleted was killed before it did so."""
    chat, token = deletion.chat_number, deletion.access_token
    if chat is not None:
        shard = shards().of(token)
        refuse(redis_of(shard.number), shard.key(keys.message_sequence(token, chat)))
        return
    for token in deletion.access_tokens:
        shard = shards().of(token)
        refuse(redis_of(shard.number), shard.key(keys.chat_sequence(token)))


def forget_keys(redis_of: Clients, access_token: str) -> None:
    """Delete every key of an application; last the one by which creations are refused."""
    shard = shards().of(access_token)
    redis = redis_of(shard.number)
    mark = shard.key(keys.chat_sequence(access_token)).encode()
    every = redis.scan_iter(match=f"*{shard.tag}*:{access_token}*", count=KEYS_AT_ONCE)
    # An idempotency key of another application may have the token in it.
    own = tuple(shard.key(prefix).encode() for prefix in keys.application_prefixes(access_token))
    others = (key for key in every if key != mark and key.startswith(own))
    while some := list(islice(others, KEYS_AT_ONCE)):
        redis.unlink(*some)
    redis.hdel(shard.key(keys.LIMITS), access_token)
    redis.unlink(mark)
