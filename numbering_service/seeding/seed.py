"""Seeds missing sequences; the package's docstring says why its steps are safe."""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import httpx
from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError, RedisError

from contract import keys
from contract.shards import Shard, Shards
from numbering_service.creation import Creation, no_parent
from numbering_service.metrics import SEEDED
from numbering_service.redis_errors import RETRYABLE
from numbering_service.seeding.backlog import LIMITS, Backlog, Found, Limits
from numbering_service.seeding.lock import LockLostError, Scripts, SeedLock
from numbering_service.seeding.lookup import Applications, look_up
from numbering_service.seeding.places import Places
from web.problems import ChatDeleted, Overloaded, StoreUnavailable

REDIS_PAUSE_SECONDS = 0.1
MAX_SEEDING_AT_ONCE = 16
MAX_SEEDING_PER_APPLICATION = 4
MAX_SEEDINGS_WAITING = 10_000
# One for each seeding, one for the applications, and some for readiness.
MAX_CRUD_CONNECTIONS = MAX_SEEDING_AT_ONCE + 8

_log = logging.getLogger(__name__)


class Store(NamedTuple):
    """What seeding uses of a shard."""

    shard: Shard
    redis: Redis
    scripts: Scripts
    backlog: Backlog

    def sequence(self, creation: Creation) -> str:
        """Return the key of a creation's sequence."""
        return self.shard.key(creation.sequence_key)


class Seeding:
    """Seeds missing sequences, with one seeding per sequence at a time across all processes."""

    def __init__(
        self,
        redis: Sequence[Redis],
        crud: httpx.AsyncClient,
        *,
        patience_seconds: float,
        limits: Limits = LIMITS,
        replicas: int = 0,
    ) -> None:
        """`redis` are the clients of all shards, in order; each has to have `replicas`."""
        self._shards = Shards(len(redis))
        self._stores = [
            Store(shard, client, Scripts(client, replicas), Backlog(client, limits, shard))
            for shard, client in zip(self._shards, redis, strict=True)
        ]
        self._crud = crud
        self._replicas = replicas
        self._patience = patience_seconds
        self._applications = Applications(crud)
        self._places = Places(
            MAX_SEEDING_AT_ONCE,
            per_application=MAX_SEEDING_PER_APPLICATION,
            max_waiting=MAX_SEEDINGS_WAITING,
        )
        self._running: dict[str, asyncio.Task[None]] = {}

    async def seed_sequence(self, creation: Creation) -> None:
        """Make sure that a creation's sequence exists.

        Raises NotFound when there is no such application or chat, ChatDeleted when the chat was
        deleted, Overloaded when too many seedings wait, StoreUnavailable when crud_service or
        Redis is unavailable for too long.
        """
        key = creation.sequence_key
        task = self._running.get(key)
        if task is None:
            task = asyncio.create_task(self._seed_in_time(creation))
            self._running[key] = task
            task.add_done_callback(partial(self._forget, key))
        # Others may wait for the same task: a cancelled caller must not end it.
        await asyncio.shield(task)

    async def follow_backlog(self) -> None:
        await asyncio.gather(*(store.backlog.follow() for store in self._stores))

    def _forget(self, key: str, task: asyncio.Task[None]) -> None:
        del self._running[key]
        # All callers may have been cancelled; then nobody else retrieves the error.
        if not task.cancelled():
            task.exception()

    async def _seed_in_time(self, creation: Creation) -> None:
        """Seed within a time limit, which includes the wait for a place."""
        try:
            async with asyncio.timeout(self._patience):
                await self._admit(creation)
                async with self._places.place(creation.access_token):
                    await self._seed_patiently(creation)
        except TimeoutError as error:
            raise not_seeded_in_time() from error
        except OutOfMemoryError as error:
            raise Overloaded("Redis is out of memory; nothing was changed.") from error
        except RedisError as error:
            extra = {"request_id": creation.request_id}
            _log.warning("a sequence cannot be seeded: %s", error, extra=extra)
            raise StoreUnavailable("Redis is unavailable; nothing was changed.") from error

    async def _admit(self, creation: Creation) -> None:
        """Raise NotFound for an application that does not exist, before it takes a place.

        Without crud_service only a sequence that is in the backlog can be seeded.
        """
        try:
            exists = await self._applications.exists(creation)
        except StoreUnavailable:
            if (await self._find(creation)).number is None:
                raise
            return
        if not exists:
            await self._mark_unknown(creation)
            raise no_parent()

    async def _mark_unknown(self, creation: Creation) -> None:
        """Spare crud_service the next requests for this sequence; never overwrites a number."""
        with contextlib.suppress(RedisError):
            ttl = keys.UNKNOWN_TTL_MS
            store = self._store_of(creation)
            await store.redis.set(store.sequence(creation), keys.UNKNOWN, nx=True, px=ttl)

    async def _seed_patiently(self, creation: Creation) -> None:
        """Seed, retrying while Redis restarts and starting over when the lock was lost."""
        store = self._store_of(creation)
        lock = SeedLock(store.scripts, store.sequence(creation))
        while True:
            try:
                await self._seed(creation, lock)
            except LockLostError:
                # A connection may be left to a former primary, whose backlog is of no use.
                await store.redis.connection_pool.disconnect(inuse_connections=False)
            except RETRYABLE:
                await asyncio.sleep(REDIS_PAUSE_SECONDS)
            else:
                return

    async def _seed(self, creation: Creation, lock: SeedLock) -> None:
        if not await lock.take():
            return
        history = ""
        try:
            waiting, read_from = await lock.keep_during(self._find(creation))
            if self._replicas:  # without acknowledgements a fail-over may repeat numbers anyway
                history = read_from
            number = await lock.keep_during(self._highest(creation, waiting))
        except ChatDeleted:
            await lock.write(keys.DELETED, keys.SEQUENCE_TTL_SECONDS * 1000, history)
            raise
        except BaseException:
            await lock.release()
            raise
        if number is None:
            await lock.write(keys.UNKNOWN, keys.UNKNOWN_TTL_MS, history)
            raise no_parent()
        await lock.write(number, keys.SEQUENCE_TTL_SECONDS * 1000, history)
        SEEDED.inc()

    async def _find(self, creation: Creation) -> Found:
        backlog = self._store_of(creation).backlog
        return await backlog.find(creation.access_token, creation.chat_number)

    def _store_of(self, creation: Creation) -> Store:
        return self._stores[self._shards.number_of(creation.access_token)]

    async def _highest(self, creation: Creation, waiting: int | None) -> int | None:
        """Return the number to continue from; None when there is no such application or chat.

        Raises ChatDeleted, and StoreUnavailable when crud_service does not answer and the
        backlog has no number.
        """
        try:
            taken = await look_up(self._crud, creation, len(self._shards))
        except StoreUnavailable:
            if waiting is None:
                raise
            return waiting
        if taken.deleted and taken.exists:
            raise ChatDeleted
        if not taken.deleted and (taken.exists or waiting is not None):
            return max(taken.highest, waiting or 0)
        if creation.chat_number is None or taken.deleted:
            self._applications.forget(creation.access_token)
        return None


def not_seeded_in_time() -> StoreUnavailable:
    """Return the problem of a creation whose sequence could not be seeded in time."""
    return StoreUnavailable(
        "The next number could not be determined in time; nothing was changed.",
        retry_after=2,
    )
