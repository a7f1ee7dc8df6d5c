"""The keys in Redis of what was deleted."""

from itertools import islice

from redis import Redis

from contract import keys
from crud_service.chat.deleted_sequences import refuse
from crud_service.erase.rows import Deletion

# How many keys Redis looks at, or forgets, at a time, which takes it less than a millisecond.
KEYS_AT_ONCE = 500


def refuse_creations(redis: Redis, deletion: Deletion) -> None:
    """Have creations refused, where the process that deleted was killed before it did so."""
    chat = deletion.chat_number
    if chat is not None:
        refuse(redis, keys.message_sequence(deletion.access_token, chat))
        return
    for token in deletion.access_tokens:
        refuse(redis, keys.chat_sequence(token))


def forget_keys(redis: Redis, access_token: str) -> None:
    """Delete every key of an application; last the one by which creations are refused."""
    mark = keys.chat_sequence(access_token).encode()
    every = redis.scan_iter(match=f"*:{access_token}*", count=KEYS_AT_ONCE)
    others = (key for key in every if key != mark)
    while some := list(islice(others, KEYS_AT_ONCE)):
        redis.unlink(*some)
    redis.hdel(keys.LIMITS, access_token)
    redis.unlink(mark)
