"""The resources of the running service: opened at startup, drained and closed at shutdown."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

import httpx
from fastapi import Depends, Request
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from contract.shards import Shard, Shards
from numbering_service.creations.access_log import AccessLog
from numbering_service.creations.batching import MAX_WAITING_BYTES, Batcher
from numbering_service.creations.creating import Creations
from numbering_service.creations.shard_queue import ShardQueue
from numbering_service.creations.sharded import ShardedBatcher
from numbering_service.creations.shares import Shares
from numbering_service.seeding import MAX_CRUD_CONNECTIONS, Seeding
from numbering_service.settings import Settings
from numbering_service.shard_servers import ShardServers
from numbering_service.wake_up import WakeUp
from web.problems import StoreUnavailable

CRUD_SECONDS = 3
# The server waits for its requests before it ends the service; hardly any is left by then.
DRAIN_SECONDS = 1


@dataclass(frozen=True, slots=True)
class Running:
    """`redis` has a client for each shard, in order."""

    redis: Sequence[Redis]
    crud: httpx.AsyncClient
    batcher: ShardedBatcher
    creations: Creations
    log: AccessLog
    replicas: int


async def running_in(request: Request) -> Running:  # not in a thread, as others are
    """Return the resources of the running service; raises StoreUnavailable until it has started."""
    found: Running | None = getattr(request.app.state, "running", None)
    if found is None:
        raise StoreUnavailable("The service is starting.")
    return found


# What an endpoint of the framework has as a parameter.
Service = Annotated[Running, Depends(running_in)]


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Running]:
    """Open what the service needs; at the end, finish accepted creations and close everything."""
    shards = Shards(settings.shards)
    servers = ShardServers(settings.redis_url, settings.shards)
    redis = [connect(servers, shard) for shard in shards]
    crud = httpx.AsyncClient(
        base_url=settings.crud_url,
        headers={b"Authorization": f"Bearer {settings.internal_token}".encode()},
        timeout=CRUD_SECONDS,
        limits=httpx.Limits(max_connections=MAX_CRUD_CONNECTIONS),
        trust_env=False,
    )
    wake_up = WakeUp(settings.broker_url)
    shares = Shares(settings.max_waiting, MAX_WAITING_BYTES)

    def make_batcher(queues: Sequence[ShardQueue], on_spread: Callable[[], None] | None) -> Batcher:
        return Batcher(
            servers,
            max_backlog=settings.max_backlog,
            default_rate=settings.default_rate,
            patience_seconds=settings.redis_patience_seconds,
            replicas=settings.replicas_to_acknowledge,
            queues=queues,
            wake_up=wake_up,
            on_spread=on_spread,
        )

    batcher = ShardedBatcher([ShardQueue(shares, shard) for shard in shards], make_batcher)
    log = AccessLog(shown=settings.log_level in {"DEBUG", "INFO"})
    seeding = Seeding(
        redis,
        crud,
        patience_seconds=settings.redis_patience_seconds,
        replicas=settings.replicas_to_acknowledge,
    )
    creations = Creations(
        batcher,
        seeding,
        log,
        waiting=shares,
        public_url=settings.crud_public_url,
        max_seeding=settings.max_waiting,
        patience_seconds=settings.redis_patience_seconds,
    )
    following = asyncio.create_task(seeding.follow_backlog())
    try:
        yield Running(redis, crud, batcher, creations, log, settings.replicas_to_acknowledge)
    finally:
        await creations.drain(DRAIN_SECONDS)
        following.cancel()
        await batcher.aclose()
        await asyncio.to_thread(wake_up.close)
        log.flush()
        await crud.aclose()
        for client in redis:
            await client.aclose()


def connect(servers: ShardServers, shard: Shard) -> Redis:
    return servers.client(
        shard,
        retry=Retry(NoBackoff(), 0),
        socket_timeout=2,
        socket_connect_timeout=1,
        socket_keepalive=True,
    )
