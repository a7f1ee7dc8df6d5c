"""The numbering service: which part answers what."""

import gc
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI

from contract.version import VERSION
from numbering_service.api import documentation, endpoints, framework, probes
from numbering_service.metrics import LOG_LINES_DROPPED
from numbering_service.redis_address import Address
from numbering_service.running import Running, running
from numbering_service.settings import Settings
from web.cors import Cors
from web.json_logs import configure
from web.server.asgi import Receive, Scope, Send
from web.server.request import Request

_log = logging.getLogger(__name__)


class NumberingService:
    """The ASGI application, with a fast path for creations.

    Our HTTP server tries `handle` first; under any other server the framework answers everything.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._running: Running | None = None
        self.api = FastAPI(
            title="Chat backend: numbering_service",
            version=VERSION,
            description=documentation.DESCRIPTION,
            openapi_tags=documentation.TAGS,
            lifespan=self.lifespan,
            docs_url=None,
            redoc_url=None,
            redirect_slashes=False,
        )
        endpoints.add_routes(self.api)
        documentation.add_routes(self.api)
        probes.add_routes(self.api)
        framework.add_error_handlers(self.api)
        # Made now and not for the first request, which would keep the event loop.
        self.api.openapi()
        origins = settings.cors_origins
        self.cors = Cors(origins, partial(framework.methods_of, self.api)) if origins else None
        self._framework = framework.Observed(framework.HeadAsGet(self.api), lambda: self._running)

    def handle(self, request: Request) -> bool:
        """Answer a whole request, now or later, if it is a creation; False for any other."""
        return self._running is not None and self._running.creations.handle(request)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._framework(scope, receive, send)

    def note_answered(self, request_id: str, method: str, status: int) -> None:
        if self._running is not None:
            self._running.log.note(request_id, method, "unknown", "unknown", status, 0)

    @asynccontextmanager
    async def lifespan(self, _api: FastAPI) -> AsyncIterator[None]:
        """Run the service: creations are answered while this context is open."""
        async with running(self._settings) as parts:
            self._running = parts
            self.api.state.running = parts
            # Objects that exist now stay: exclude them from garbage collection.
            gc.collect()
            gc.freeze()
            address = Address.from_url(self._settings.redis_url)
            _log.info("numbering service is up", extra={"redis": str(address)})
            yield


def build() -> NumberingService:
    """Build this process's application from its environment; uvicorn's factory."""
    settings = Settings.from_env()
    configure("numbering", settings.log_level, LOG_LINES_DROPPED.inc)
    return NumberingService(settings)
