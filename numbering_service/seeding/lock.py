"""The lock under which one sequence is seeded, across all processes."""

import asyncio
import contextlib
from collections.abc import Coroutine
from importlib.resources import files
from secrets import token_hex
from typing import Any, TypeVar

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from contract import keys
from contract.replicas import is_received, shortfall

T = TypeVar("T")

FIRST_PAUSE_SECONDS = 0.005
LONGEST_PAUSE_SECONDS = 0.05
RENEW_SECONDS = 1.0
RELEASE_SECONDS = 0.5
# How long to wait for replicas to receive a lock.
WAIT_MS = 800

_TTL_MS = keys.SEED_LOCK_TTL_SECONDS * 1000


class LockLostError(Exception):
    """The lock was lost; what was looked up under it may be stale."""


class Scripts:
    def __init__(self, redis: Redis, replicas: int = 0) -> None:
        self._redis = redis
        self._replicas = replicas
        folder = files("numbering_service.seeding")
        self.take, self.renew, self.write = (
            redis.register_script(folder.joinpath(name).read_text(encoding="utf-8"))
            for name in ("take_lock.lua", "renew_lock.lua", "write_sequence.lua")
        )

    async def take_received(self, names: list[str], arguments: list[str | int]) -> bytes:
        """Run `take`, where replicas receive it if there are to be any; or raise a RedisError.

        A former primary that lost its replicas, and is alive, would be seeded indefinitely
        for creations that arrive at the one that was promoted.
        """
        if not self._replicas:
            return bytes(await self.take(keys=names, args=arguments))
        # One connection for both: WAIT waits for the writes of its own.
        async with self._redis.client() as connection:
            outcome = await self.take(keys=names, args=arguments, client=connection)
            received = await connection.wait(self._replicas, WAIT_MS)
        if not is_received(received, self._replicas):
            await self._redis.connection_pool.disconnect(inuse_connections=False)
            raise RedisConnectionError(shortfall(received, self._replicas))
        return bytes(outcome)


class SeedLock:
    """One seeding's lock. It expires within seconds, so a killed process blocks nobody for long."""

    def __init__(
        self, scripts: Scripts, sequence_key: str, renew_seconds: float = RENEW_SECONDS
    ) -> None:
        self._renew_seconds = renew_seconds
        self._scripts = scripts
        self._sequence = sequence_key
        self._lock = keys.seed_lock(sequence_key)
        self._token = ""
        self._former: list[str] = []

    async def take(self) -> bool:
        """Take the lock, waiting while another holds it; return False when the sequence exists.

        After an error it is not known whether the lock was taken. The next call
        uses a fresh token, and replaces a former one if it finds that in place.
        """
        if self._token:
            self._former.append(self._token)
        self._token = token_hex(8)
        pause = FIRST_PAUSE_SECONDS
        while True:
            outcome = await self._scripts.take_received(
                [self._sequence, self._lock], [self._token, _TTL_MS, *self._former]
            )
            if outcome != b"held":
                return bool(outcome == b"taken")
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def keep_during(self, work: Coroutine[Any, Any, T]) -> T:
        """Return the result of `work`, renewing the lock meanwhile; raises LockLostError."""
        task = asyncio.create_task(work)
        try:
            while not (await asyncio.wait({task}, timeout=self._renew_seconds))[0]:
                if not await self._scripts.renew(keys=[self._lock], args=[self._token, _TTL_MS]):
                    raise LockLostError
            return task.result()
        finally:
            task.cancel()

    async def write(self, value: int | str, ttl_ms: int, history: str) -> None:
        """Write the sequence and release the lock; raises LockLostError.

        Args:
            value: the highest number, or a state.
            ttl_ms: how long it lives, in milliseconds.
            history: the replication id of the server whose backlog was read; '' to write it
                whichever that was.
        """
        if not await self._finish(value, ttl_ms, history):
            raise LockLostError

    async def release(self) -> None:
        """Release the lock without writing; if Redis is unavailable, it expires."""
        with contextlib.suppress(RedisError, TimeoutError):
            async with asyncio.timeout(RELEASE_SECONDS):
                await self._finish("", 1, "")

    async def _finish(self, value: int | str, ttl_ms: int, history: str) -> bool:
        written = await self._scripts.write(
            keys=[self._sequence, self._lock], args=[self._token, value, ttl_ms, history]
        )
        return bool(written)
