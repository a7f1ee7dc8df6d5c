"""What all connections of a process share: the application, the budgets, the date."""

import asyncio
import logging
import resource
from collections.abc import Callable, Coroutine
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from uvicorn import Config
from uvicorn.server import ServerState

from web.cors import Cors
from web.request_id import HEADER
from web.server.answers import header_lines
from web.server.budget import Budget
from web.server.limits import Limits
from web.server.request import Request
from web.server.turns import turns_of

logger = logging.getLogger(__name__)

Addresses = tuple[Any, Any]


class Upload(Protocol):
    """A connection on which a request is arriving."""

    def drop_upload(self) -> None: ...


class Reader(Protocol):
    """A connection whose client is reading an answer."""

    def abort(self) -> None: ...


class Front:
    """The shared state of a process's connections."""

    def __init__(
        self,
        config: Config,
        state: ServerState,
        app_state: dict[str, Any],
        loop: asyncio.AbstractEventLoop,
        limits: Limits,
    ) -> None:
        self.app = config.loaded_app
        # An application may take whole requests directly, without ASGI.
        self.handle: Callable[[Request], bool] | None = getattr(self.app, "handle", None)
        # What `handle` leaves may go to a coroutine function instead of ASGI; it is called with
        # the request and the addresses of the client and the server.
        self.respond: Callable[[Request, Addresses], Coroutine[Any, Any, None]] | None = getattr(
            self.app, "respond", None
        )
        # Called with the request id, the method and the status of each request that the server
        # answers itself: refusals and preflights.
        self.note_answered: Callable[[str, str, int], None] | None = getattr(
            self.app, "note_answered", None
        )
        # None: no other origin may read the answers.
        self.cors: Cors | None = getattr(self.app, "cors", None)
        self.state = state
        self.app_state = app_state
        self.limits = limits
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.ceiling = limits.connection_ceiling(files)
        if self.ceiling < limits.connections:
            few = "%d open files leave room for %d of %d connections: raise the hard limit"
            logger.warning(few, files, self.ceiling, limits.connections)
        self.arriving: Budget[Upload] = Budget(
            limits.arriving_bytes, lambda upload: upload.drop_upload()
        )
        # Makes room for clients that read.
        self.unread: Budget[Reader] = Budget(limits.unread_bytes, lambda reader: reader.abort())
        self.turns = turns_of(loop)
        self._default_headers: list[tuple[bytes, bytes]] = []
        self._default_lines = b""

    def default_lines(self) -> bytes:
        """Return the header lines of every answer: Date, which uvicorn renews each second."""
        if self.state.default_headers is not self._default_headers:
            self._default_headers = self.state.default_headers
            self._default_lines = header_lines(self._default_headers)
        return self._default_lines

    def answer_preflight(self, request: Request) -> bool:
        """Answer a browser that asks what it may send to a path; False for anything else."""
        lines = None if self.cors is None else self.cors.preflight(request.path, request.headers)
        if lines is None:
            return False
        request.answer(204, lines + f"{HEADER.lower()}: {request.id}\r\n".encode(), b"")
        if self.note_answered is not None:
            self.note_answered(request.id, request.method, 204)
        return True


_fronts: WeakKeyDictionary[ServerState, Front] = WeakKeyDictionary()


def front_of(
    config: Config,
    state: ServerState,
    app_state: dict[str, Any],
    loop: asyncio.AbstractEventLoop,
    limits: Limits,
) -> Front:
    """Return the front of a running server, created on its first connection.

    Args:
        config: uvicorn's.
        state: the server's, which identifies it.
        app_state: what the application's lifespan has left for its requests.
        loop: the one on which it runs.
        limits: what the process holds, and how long it waits.
    """
    front = _fronts.get(state)
    if front is None:
        front = _fronts[state] = Front(config, state, app_state, loop, limits)
    return front
