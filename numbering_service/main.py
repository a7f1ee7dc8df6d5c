"""The numbering service: which part answers what."""

import gc
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any

from fastapi import FastAPI
from redis.asyncio import Redis

from contract.json_logs import configure
from contract.version import VERSION
from numbering_service import documentation, framework, operations
from numbering_service.metrics import LOG_LINES_DROPPED
from numbering_service.requests import read_target
from numbering_service.running import Running, running
from numbering_service.settings import Settings
from web.asgi import Receive, Scope, Send

_log = logging.getLogger(__name__)


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
        self._framework = framework.Observed(framework.HeadAsGet(self.api), lambda: self._running)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._running is not None and scope.get("method") == "POST":
            target = read_target(scope["path"])
            if target is not None:
                await self._running.creations.answer(target, scope, receive, send)
                return
        await self._framework(scope, receive, send)

    def note_refusal(self, request_id: str, method: str, status: int) -> None:
        """Log a request that the server refused."""
        if self._running is not None:
            self._running.log.note(method, "unknown", request_id, status, perf_counter())

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
    configure("numbering", settings.log_level, LOG_LINES_DROPPED.inc)
    return NumberingService(settings)
