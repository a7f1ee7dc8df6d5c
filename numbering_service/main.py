"""The numbering service: what runs while it is up, and which part answers what."""

import asyncio
import gc
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from fastapi import FastAPI
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from contract.json_logs import configure
from contract.version import VERSION
from numbering_service import documentation, framework, operations
from numbering_service.access_log import AccessLog
from numbering_service.batching import Batcher
from numbering_service.creations import Creations
from numbering_service.numbers import Numbers
from numbering_service.redis_client import Client
from numbering_service.requests import Receive, Scope, Send, read_target
from numbering_service.seeding import MAX_SEEDING_AT_ONCE, Seeding
from numbering_service.settings import Settings
from numbering_service.wake_up import WakeUp

CRUD_SECONDS = 3

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Running:
    """What is there from start to stop."""

    redis: Redis
    crud: httpx.AsyncClient
    batcher: Batcher
    creations: Creations
    log: AccessLog


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Running]:
    """Open what the service needs, and at the end finish what was accepted and close it."""
    redis = Client.from_url(
        settings.redis_url,
        retry=Retry(NoBackoff(), 0),
        socket_timeout=2,
        socket_connect_timeout=1,
        socket_keepalive=True,
    )
    crud = httpx.AsyncClient(
        base_url=settings.crud_url,
        headers={"Authorization": f"Bearer {settings.internal_token}"},
        timeout=CRUD_SECONDS,
        limits=httpx.Limits(max_connections=MAX_SEEDING_AT_ONCE),
        trust_env=False,
    )
    wake_up = WakeUp(settings.redis_url)
    numbers = Numbers(
        settings.redis_url,
        max_backlog=settings.max_backlog,
        patience_seconds=settings.redis_patience_seconds,
    )
    batcher = Batcher(numbers, max_waiting=settings.max_waiting, wake_up=wake_up)
    log = AccessLog(shown=settings.log_level in {"debug", "info"})
    seeding = Seeding(redis, crud, patience_seconds=settings.redis_patience_seconds)
    creations = Creations(batcher, seeding, log, settings.crud_public_url)
    try:
        yield Running(redis, crud, batcher, creations, log)
    finally:
        await batcher.drain()
        await asyncio.to_thread(wake_up.close)
        log.flush()
        await crud.aclose()
        await numbers.aclose()
        await redis.aclose()


class NumberingService:
    """The ASGI application: the two creation paths, and the framework for all the rest."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._running: Running | None = None
        self.api = FastAPI(
            title="Chat backend: numbering_service",
            version=VERSION,
            description=documentation.DESCRIPTION,
            openapi_tags=documentation.TAGS,
            lifespan=self._lifespan,
            docs_url=None,
            redoc_url=None,
            redirect_slashes=False,
        )
        documentation.add_routes(self.api)
        operations.add_routes(self.api, lambda: self._running)
        framework.add_error_handlers(self.api)
        self._framework = framework.Observed(self.api, lambda: self._running)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._running is not None and scope.get("method") == "POST":
            target = read_target(scope["path"])
            if target is not None:
                await self._running.creations.answer(target, scope, receive, send)
                return
        await self._framework(scope, receive, send)

    @asynccontextmanager
    async def _lifespan(self, _api: FastAPI) -> AsyncIterator[None]:
        async with running(self._settings) as parts:
            self._running = parts
            # What is there now stays: no collection has to look at it again.
            gc.collect()
            gc.freeze()
            _log.info("numbering service is up", extra={"redis": _address(parts.redis)})
            yield


def _address(redis: Redis) -> str:
    options: dict[str, Any] = redis.connection_pool.connection_kwargs
    return f"{options.get('host')}:{options.get('port')}"


def build() -> NumberingService:
    """The application of this process, from its environment; uvicorn's factory."""
    settings = Settings.from_env()
    configure("numbering", settings.log_level)
    return NumberingService(settings)
