"""Makes Redis forget numbers."""

import random

import redis

from bench.running_stack import RunningStack

DELETED_AT_ONCE = 1000


def delete_sequences(stack: RunningStack, share: float, chance: random.Random | None = None) -> int:
    """Delete a share of the keys that hold numbers; how many there were to delete."""
    choose = chance or random.Random(0)
    with redis.Redis.from_url(stack.environment["REDIS_URL"]) as client:
        keys = list(client.scan_iter("sequence:*", count=DELETED_AT_ONCE))
        chosen = [key for key in keys if choose.random() < share]
        return int(client.delete(*chosen)) if chosen else 0
