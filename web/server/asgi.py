"""Runs an ASGI application for a whole request, in one task."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from web.problems import InternalError
from web.request_id import HEADER
from web.server.answers import header_lines, problem_answer
from web.server.request import Request

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_VERSIONS = {"version": "3.0", "spec_version": "2.3"}
_INVISIBLE = frozenset({b"transfer-encoding"})
_REQUEST_ID = HEADER.lower().encode()

logger = logging.getLogger(__name__)


async def run(
    application: Application,
    request: Request,
    state: dict[str, Any],
    addresses: tuple[Any, Any],
) -> None:
    """Have an application answer a request.

    Args:
        application: of ASGI 3.
        request: a whole request.
        state: what the application's lifespan has left for its requests.
        addresses: the client's and the server's, each a host and a port.
    """
    exchange = _Exchange(request)
    scope = _scope_of(request, state, addresses)
    try:
        await application(scope, exchange.receive, exchange.send)
        if not exchange.is_complete and not request.is_disconnected:
            logger.error(
                "an application returned without an answer", extra={"request_id": request.id}
            )
            exchange.fail()
    except Exception:
        logger.exception("an application failed", extra={"request_id": request.id})
        exchange.fail()
    except asyncio.CancelledError:
        request.abort()
        raise
    finally:
        # The request refers to the exchange by its callback: without this, each request
        # would be a reference cycle that only the garbage collector can free.
        request.on_disconnect = None


def _scope_of(request: Request, state: dict[str, Any], addresses: tuple[Any, Any]) -> Scope:
    client, server = addresses
    return {
        "type": "http",
        "asgi": _VERSIONS,
        "http_version": request.version,
        "method": request.method,
        "scheme": "http",
        "path": request.path,
        "raw_path": request.raw_path,
        "query_string": request.query,
        "root_path": "",
        # A list of its own, which an application may change. The id is that of this side's logs.
        "headers": [
            *(header for header in request.headers if header[0] != _REQUEST_ID),
            (_REQUEST_ID, request.id.encode()),
        ],
        "client": client,
        "server": server,
        "state": state.copy(),
    }


class _Exchange:
    """ASGI's two directions."""

    __slots__ = ("_begun", "_body", "_disconnected", "_received", "_request", "is_complete")

    def __init__(self, request: Request) -> None:
        self._request = request
        self._body = request.body  # which the request drops when its answer begins
        self._received = self._begun = self.is_complete = False
        self._disconnected: asyncio.Event | None = None

    async def receive(self) -> Message:
        """Return the whole body at once; after that only http.disconnect, when it comes."""
        if not self._received:
            self._received = True
            body, self._body = self._body, b""
            return {"type": "http.request", "body": body, "more_body": False}
        if not self._request.is_disconnected:
            if self._disconnected is None:
                self._disconnected = asyncio.Event()
                self._request.on_disconnect = self._disconnected.set
            await self._disconnected.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Send a part of an answer, and wait until there is room for the next."""
        if message["type"] == "http.response.start":
            self._begin(message)
            return
        self._request.write(message.get("body", b""))
        if message.get("more_body", False):
            await self._request.writable()
        elif not self.is_complete:
            self._request.end()
            self._complete()

    def _begin(self, message: Message) -> None:
        length: int | None = None
        headers = []
        for name, value in message.get("headers", ()):
            if name.lower() == b"content-length":
                length = int(value)
            if name.lower() not in _INVISIBLE:
                headers.append((name, value))
        self._begun = True
        self._request.begin(message["status"], header_lines(headers), length)

    def fail(self) -> None:
        """Answer 500, or abort an answer that has begun."""
        if self._begun:
            self._request.abort()
        else:
            self._request.answer(
                500, *problem_answer(InternalError(), self._request.path, self._request.id)
            )
        self._complete()

    def _complete(self) -> None:
        self.is_complete = True
        if self._disconnected is not None:
            self._disconnected.set()
