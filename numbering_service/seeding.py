"""Finds a missing sequence's highest number and writes it, so that nothing is repeated.

The order of the steps is what makes it safe (each line needs the one before):

1. Take the lock of this sequence. From here on nobody else can write it.
2. Look at the sequence again. If it is missing now it stays missing, so that
   nobody can be given a number of it.
3. Note the id of the last entry accepted so far, and wait until every entry up
   to it has left the stream, that is until it is stored.
4. Ask crud_service for the highest number stored. Nothing can be added to it.
5. Write it, if the lock is still ours.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.resources import files
from secrets import token_hex

import httpx
from redis.asyncio import Redis
from redis.asyncio.lock import Lock
from redis.exceptions import RedisError, ResponseError

from contract import keys
from contract.problems import NotFound, Problem, StoreUnavailable
from contract.sequences import HIGHEST_NUMBER, sequence_path
from numbering_service.creation import Creation
from numbering_service.metrics import SEEDED

DRAIN_SECONDS = 8
LOOK_AGAIN_SECONDS = 0.005
PAUSE_SECONDS = 0.1
MAX_SEEDING_AT_ONCE = 32

_FREE = "0-0"


class Seeding:
    """Seeds missing sequences, each once at a time in this process and in all of them."""

    def __init__(self, redis: "Redis", crud: httpx.AsyncClient, *, patience_seconds: float) -> None:
        self._redis = redis
        self._crud = crud
        self._patience = patience_seconds
        self._write = redis.register_script(
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
            task = asyncio.create_task(self._seed(creation))
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

    async def _seed(self, creation: Creation) -> None:
        """Seed a sequence, waiting out a restart of Redis."""
        lock = Lock(
            self._redis,
            keys.seed_lock(creation.sequence_key),
            timeout=keys.SEED_LOCK_TTL_SECONDS,
            sleep=LOOK_AGAIN_SECONDS,
            blocking_timeout=keys.SEED_LOCK_TTL_SECONDS,
        )
        token = token_hex(16).encode()
        give_up = time.monotonic() + self._patience
        async with self._places:
            while True:
                try:
                    return await self._seed_under(lock, token, creation)
                except RedisError as error:
                    if time.monotonic() > give_up:
                        raise StoreUnavailable("Redis is away; nothing was changed.") from error
                await asyncio.sleep(PAUSE_SECONDS)

    async def _seed_under(self, lock: Lock, token: bytes, creation: Creation) -> None:
        # A connection that broke may have brought the lock and lost the answer:
        # under our own token we know it as ours, and need not wait until it expires.
        lock.local.token = token
        if not await lock.owned() and not await lock.acquire(token=token):
            raise StoreUnavailable("The sequence is being looked up; nothing was changed.")
        try:
            await self._seed_locked(creation, creation.sequence_key, lock)
        finally:
            # A lock that was lost in the meantime guards nothing any more:
            # seed.lua has refused to write then, and the caller asks again.
            with suppress(RedisError):
                await lock.release()

    async def _seed_locked(self, creation: Creation, key: str, lock: Lock) -> None:
        known, unknown = await self._redis.mget(key, keys.unknown(key))
        if unknown is not None:
            raise NotFound
        if known is not None:
            return
        await self._wait_until_stored(await self._last_accepted())
        try:
            number = await self._highest_number(creation)
        except NotFound:
            await self._redis.set(keys.unknown(key), "1", px=keys.UNKNOWN_TTL_MS)
            raise
        SEEDED.inc()
        await self._write(
            keys=[key, keys.seed_lock(key)],
            args=[lock.local.token, number, keys.SEQUENCE_TTL_SECONDS],
        )

    async def _last_accepted(self) -> str:
        """The id of the newest entry ever put into the stream."""
        try:
            info = await self._redis.xinfo_stream(keys.ACCEPTED)
        except ResponseError:  # There is no stream, so nothing waits in it.
            return _FREE
        return str(info["last-generated-id"].decode())

    async def _wait_until_stored(self, last_accepted: str) -> None:
        give_up = time.monotonic() + DRAIN_SECONDS
        while await self._redis.xrange(keys.ACCEPTED, max=last_accepted, count=1):
            if time.monotonic() > give_up:
                raise StoreUnavailable(
                    "Earlier creations are still being stored; nothing was changed.", retry_after=2
                )
            await asyncio.sleep(LOOK_AGAIN_SECONDS)

    async def _highest_number(self, creation: Creation) -> int:
        """Ask crud_service; raises NotFound, or StoreUnavailable for any other answer."""
        path = sequence_path(creation.access_token, creation.chat_number)
        try:
            response = await self._crud.get(path, headers={"X-Request-ID": creation.request_id})
        except httpx.HTTPError as error:
            raise unavailable() from error
        if response.status_code == httpx.codes.NOT_FOUND:
            raise NotFound
        if response.status_code != httpx.codes.OK:
            raise unavailable()
        return int(response.json()[HIGHEST_NUMBER])


def unavailable() -> Problem:
    """The answer when crud_service cannot be asked."""
    return StoreUnavailable(
        "The number to go on from cannot be looked up at the moment; nothing was changed."
    )
