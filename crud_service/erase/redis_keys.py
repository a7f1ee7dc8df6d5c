"""The keys in Redis of what was deleted."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from redis import Redis

from contract import keys
from contract.shards import Shard
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
    for shard, tokens in by_shard(deletion.access_tokens).items():
        # One by one, each is a write to the disk: a thousand of them hold up others for seconds.
        with redis_of(shard.number).pipeline(transaction=False) as pipeline:
            for token in tokens:
                refuse(pipeline, shard.key(keys.chat_sequence(token)))
            pipeline.execute()


def by_shard(access_tokens: Sequence[str]) -> dict[Shard, list[str]]:
    found: dict[Shard, list[str]] = {}
    for token in access_tokens:
        found.setdefault(shards().of(token), []).append(token)
    return found


def forget_keys(redis_of: Clients, access_tokens: Sequence[str]) -> Iterator[None]:
    """Delete every key of an application; yield after each page of keys that Redis has looked at.

    An application may have had thousands of tokens, and a look at all keys of an installation takes
    seconds: so one look finds those of all tokens.
    """
    for shard, tokens in by_shard(access_tokens).items():
        yield from forget_keys_of_shard(redis_of(shard.number), shard, tokens)


def forget_keys_of_shard(redis: Redis, shard: Shard, tokens: Sequence[str]) -> Iterator[None]:
    """Delete every key of some tokens; last those by which creations are refused."""
    marks = {shard.key(keys.chat_sequence(token)).encode() for token in tokens}
    # An idempotency key of another application may have a token in it.
    heads = {prefix.partition(tokens[0])[0] for prefix in keys.application_prefixes(tokens[0])}
    places = [(head := shard.key(name).encode(), len(head)) for name in heads]
    known = {token.encode() for token in tokens}
    size = len(tokens[0])

    def is_own(key: bytes) -> bool:
        return any(key.startswith(head) and key[at : at + size] in known for head, at in places)

    one = f":{tokens[0]}" if len(tokens) == 1 else ""
    cursor = 0
    while True:
        page: Any = redis.scan(cursor, match=f"{shard.tag}*{one}*", count=KEYS_AT_ONCE)
        cursor, found = page
        own = [key for key in found if key not in marks and is_own(key)]
        if own:
            redis.unlink(*own)
        yield
        if not cursor:
            break
    redis.hdel(shard.key(keys.LIMITS), *tokens)
    redis.unlink(*marks)
