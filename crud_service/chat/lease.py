"""A lease in Redis: one worker at a time persists, one indexes; the others stand by.

A lease spares work, it protects nothing: a holder that was frozen wakes up
after its lease has passed on, so everything done under one is idempotent.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redis import Redis, RedisError

from contract.keys import LEASE_TTL_MS

_LUA = Path(__file__).with_name("lua")
_TAKE = (_LUA / "take_lease.lua").read_text()
_RELEASE = (_LUA / "release_lease.lua").read_text()


class Lease:
    """One lease as one holder sees it."""

    def __init__(self, redis: Redis, key: str, ttl_ms: int = LEASE_TTL_MS):
        self._key = key
        self._ttl_ms = ttl_ms
        self._owner = secrets.token_hex(8)
        self._take = redis.register_script(_TAKE)
        self._release = redis.register_script(_RELEASE)

    def take(self) -> bool:
        """Take the lease, or renew it; False when somebody else holds it."""
        return bool(self._take(keys=[self._key], args=[self._owner, self._ttl_ms]))

    def release(self) -> None:
        """Let the next one have it at once instead of when it runs out."""
        self._release(keys=[self._key], args=[self._owner])


@contextmanager
def held(lease: Lease) -> Iterator[bool]:
    """Whether the lease was to be had; it is given back at the end, come what may."""
    if not lease.take():
        yield False
        return
    try:
        yield True
    finally:
        give_back(lease)


def give_back(lease: Lease) -> None:
    """Release a lease; without Redis it runs out by itself."""
    try:
        lease.release()
    except RedisError:
        return
