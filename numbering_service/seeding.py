"""Finds a missing sequence's highest number and writes it, so that nothing is repeated.

The order of the steps is what makes it safe (each line needs the one before):

1. Take the lock of this sequence. From here on nobody else can write it.
2. Look at the sequence again. If it is missing now it stays missing, so that
   nobody can be given a number of it.
3. Note the id of the last entry accepted so far, and wait until every entry up
   to it has left the stream, that is until it is stored.
4. Ask crud_service for the highest number stored. Nothing can be added to it.
5. Write it, if the lock is still ours, and give the lock back.
"""

import asyncio
import time
from collections.abc import Callable
from importlib.resources import files
from secrets import token_hex

import httpx
from redis.asyncio import Redis
from redis.exceptions import BusyLoadingError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from contract import keys
from contract.problems import NotFound, Overloaded, StoreUnavailable
from contract.sequences import HIGHEST_NUMBER, sequence_path
from numbering_service.creation import Creation
from numbering_service.metrics import SEEDED

LOOK_AGAIN_SECONDS = 0.005
RENEW_SECONDS = 1.0
REDIS_PAUSE_SECONDS = 0.1
MAX_SEEDING_AT_ONCE = 32
MAX_SEEDINGS_WAITING = 10_000

_FREE = "0-0"


class Seeding:
    """Seeds missing sequences, each once at a time in this process and in all of them."""

    def __init__(self, redis: "Redis", crud: httpx.AsyncClient, *, patience_seconds: float) -> None:
        self._redis = redis
        self._crud = crud
        self._patience = patience_seconds
        self._finish = redis.register_script(
            files("numbering_service").joinpath("seed.lua").read_text()
        )
        self._running: dict[str, asyncio.Task[None]] = {}
        self._places = asyncio.Semaphore(MAX_SEEDING_AT_ONCE)

    async def seed_sequence(self, creation: Creation) -> None:
        """Make sure that a creation's sequence is there.

        Raises NotFound when crud_service has no such application or chat,
        StoreUnavailable when it, the workers or Redis are away for too long.
        """
        key = creation.sequence_key
        task = self._running.get(key)
        if task is None:
            if len(self._running) >= MAX_SEEDINGS_WAITING:
                raise Overloaded
            task = asyncio.create_task(self._seed_in_time(creation))
            self._running[key] = task
            task.add_done_callback(self._forget(key))
        # Others may wait for the same task: one that is cancelled must not end it.
        await asyncio.shield(task)

    def _forget(self, key: str) -> Callable[[asyncio.Task[None]], None]:
        def forget(task: asyncio.Task[None]) -> None:
            self._running.pop(key, None)
            # Everybody who waited may have gone; then nobody else looks at the error.
            if not task.cancelled():
                task.exception()

        return forget

    async def _seed_in_time(self, creation: Creation) -> None:
        """Seed, or give up after some seconds, those of waiting for one's turn included."""
        try:
            async with asyncio.timeout(self._patience), self._places:
                await self._seed_patiently(creation)
        except TimeoutError as error:
            raise StoreUnavailable(
                "Earlier creations are still being stored; nothing was changed.", retry_after=2
            ) from error
        except RedisError as error:
            raise StoreUnavailable("Redis is away; nothing was changed.") from error

    async def _seed_patiently(self, creation: Creation) -> None:
        """Seed, waiting out a restart of Redis; a lock that is ours already stays ours."""
        token = token_hex(8)
        while True:
            try:
                await self._lock(creation.sequence_key, token)
                await self._seed_locked(creation, token)
            except (BusyLoadingError, RedisConnectionError, RedisTimeoutError):
                await asyncio.sleep(REDIS_PAUSE_SECONDS)
            else:
                return

    async def _lock(self, key: str, token: str) -> None:
        ttl = keys.SEED_LOCK_TTL_SECONDS
        while True:
            holder = await self._redis.set(keys.seed_lock(key), token, nx=True, get=True, ex=ttl)
            if holder in (None, token.encode()):
                return
            await asyncio.sleep(LOOK_AGAIN_SECONDS)

    async def _seed_locked(self, creation: Creation, token: str) -> None:
        key = creation.sequence_key
        found: tuple[int | str, int] = ("", 1)
        try:
            if await self._redis.exists(key):
                return
            await self._wait_until_stored(await self._last_accepted(), keys.seed_lock(key))
            found = await self._look_up(creation)
        finally:
            await self._finish(keys=[key, keys.seed_lock(key)], args=[token, *found])
        if found[0] == keys.UNKNOWN:
            raise NotFound

    async def _last_accepted(self) -> str:
        """The id of the newest entry ever put into the stream."""
        try:
            info = await self._redis.xinfo_stream(keys.ACCEPTED)
        except ResponseError:  # There is no stream, so nothing waits in it.
            return _FREE
        return str(info["last-generated-id"].decode())

    async def _wait_until_stored(self, last_accepted: str, lock: str) -> None:
        """Wait, and keep the lock: it is short, so that a killed process holds nobody up for long.

        Should the lock have passed on to somebody else, theirs is prolonged, which
        does no harm: seed.lua looks whose it is.
        """
        renewed = time.monotonic()
        while await self._redis.xrange(keys.ACCEPTED, max=last_accepted, count=1):
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
            if time.monotonic() - renewed > RENEW_SECONDS:
                renewed = time.monotonic()
                await self._redis.expire(lock, keys.SEED_LOCK_TTL_SECONDS)

    async def _look_up(self, creation: Creation) -> tuple[int | str, int]:
        """What to write as the sequence and for how many milliseconds, by crud_service's answer.

        Raises StoreUnavailable when it has none.
        """
        path = sequence_path(creation.access_token, creation.chat_number)
        try:
            response = await self._crud.get(path, headers={"X-Request-ID": creation.request_id})
            if response.status_code == httpx.codes.NOT_FOUND:
                return keys.UNKNOWN, keys.UNKNOWN_TTL_MS
            number = int(response.raise_for_status().json()[HIGHEST_NUMBER])
        except (httpx.HTTPError, LookupError, TypeError, ValueError) as error:
            raise StoreUnavailable(
                "The number to go on from cannot be looked up at the moment; nothing was changed."
            ) from error
        SEEDED.inc()
        return number, keys.SEQUENCE_TTL_SECONDS * 1000
