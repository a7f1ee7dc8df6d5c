"""Bridge from the HTTP server to Django: the event loop receives, threads answer.

A thread takes a request once it has arrived completely, and is free while the
client reads a long answer, so a slow client never holds a thread. A request
that breaks off early never reaches a view.
"""

import asyncio
import gc
import logging
import sys
from collections.abc import Callable, Iterable
from functools import lru_cache
from io import BytesIO
from time import perf_counter
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

from crud_service.api.responses import SAFE_HEADERS, safe_path
from crud_service.monitoring.request_log import RequestLog, known_method
from crud_service.reads.resource_reads import ResourceReads
from crud_service.server.fair_threads import FairThreads
from crud_service.server.pools import Pools
from web.problems import CONTENT_TYPE, InternalError, Overloaded, Problem
from web.request_id import HEADER
from web.request_id import request_id as request_id_of
from web.server.asgi import REQUEST, Receive, Scope, Send
from web.server.request import Request

Environ = dict[str, Any]
WsgiApplication = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]

logger = logging.getLogger(__name__)


class Answer(NamedTuple):
    """The application's response: a body in one piece, or chunks generated while sending."""

    status: int
    headers: list[tuple[str, str]]
    body: Iterable[bytes]


class Server:
    """An ASGI application that wraps a WSGI application."""

    def __init__(self, application: WsgiApplication, log: RequestLog) -> None:
        self._application = application
        self._log = log
        self._resources = ResourceReads(log)
        self._pools = Pools()

    def handle(self, request: Request) -> bool:
        """Answer a complete request on the event loop, now or later; False if Django must do it."""
        return request.method in {"GET", "HEAD"} and self._resources.handle(request)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        request: Request = scope["extensions"][REQUEST]
        environ = environ_of(request, scope["server"], scope["client"])
        threads, owner = self._pools.of(environ)
        try:
            answer = await threads.run(owner, self._answer, environ)
        except Overloaded as problem:
            answer = refused(environ, problem)
            self._note(environ, problem.status)
        if isinstance(answer.body, list):
            head = "".join([f"{name}: {value}\r\n" for name, value in answer.headers])
            request.answer(answer.status, head.encode("latin-1"), answer.body[0])
        else:
            await self._stream(answer, (threads, owner), receive, send)

    def _note(self, environ: Environ, status: int) -> None:
        """Log a request that was refused before it reached Django."""
        request_id = request_id_of(environ.get("HTTP_X_REQUEST_ID"))
        method, path = known_method(environ["REQUEST_METHOD"]), safe_path(environ["PATH_INFO"])
        seconds = perf_counter() - environ["chat.started"]
        self._log.note(request_id, method, "unknown", path, status, seconds)

    def note_refusal(self, request_id: str, method: str, status: int) -> None:
        """Log a request that the HTTP server refused."""
        self._log.note(request_id, method, "unknown", "/", status, 0)

    def _answer(self, environ: Environ) -> Answer:
        """Run the application; called in a pool thread."""
        head: list[Any] = []
        try:
            body = self._application(
                environ, lambda *status_and_headers: head.extend(status_and_headers)
            )
        except Exception:
            logger.exception("a request failed")
            return refused(environ, InternalError())
        return Answer(int(head[0][:3]), head[1], body)

    async def _stream(
        self, answer: Answer, turn: tuple[FairThreads, str], receive: Receive, send: Send
    ) -> None:
        """Send the chunks; generate each in a thread once the client has taken the previous one."""
        threads, owner = turn
        loop = asyncio.get_running_loop()
        headers = [(name.encode(), value.encode("latin-1")) for name, value in answer.headers]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        disconnected = loop.create_task(wait_for_disconnect(receive))
        chunks = iter(answer.body)
        try:
            while not disconnected.done():
                chunk = await threads.run_patiently(owner, next, chunks, None)
                if chunk is None:
                    await send({"type": "http.response.body"})
                    break
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        except Exception:
            # Too late for an error status: the client notices because the JSON is truncated.
            logger.exception("a list broke off")
        finally:
            disconnected.cancel()
            if hasattr(answer.body, "close"):
                answer.body.close()

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        self._log.start()
        # Objects alive now stay alive; scanning them would stop every thread for 70 ms at times.
        gc.collect()
        gc.freeze()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self._pools.shutdown()
        await self._resources.close()
        await send({"type": "lifespan.shutdown.complete"})


def refused(environ: Environ, problem: Problem) -> Answer:
    """Return a problem document for a request that Django did not get, or failed to answer."""
    request_id = request_id_of(environ.get("HTTP_X_REQUEST_ID"))
    body = problem.render(environ["PATH_INFO"], request_id)
    headers = [("Content-Type", CONTENT_TYPE), ("Content-Length", str(len(body)))]
    headers += problem.headers.items()
    visible = b"" if environ["REQUEST_METHOD"] == "HEAD" else body
    return Answer(problem.status, [*headers, (HEADER, request_id), *SAFE_HEADERS], [visible])


async def wait_for_disconnect(receive: Receive) -> None:
    """Wait until the client has closed its connection."""
    while (await receive())["type"] != "http.disconnect":
        pass


def environ_of(
    request: Request, server: tuple[str, int] | None, client: tuple[str, int] | None
) -> Environ:
    """Return the WSGI environ of a request (PEP 3333)."""
    path = request.raw_path
    server = server or ("", 0)
    environ: Environ = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": (unquote_to_bytes(path) if b"%" in path else path).decode("latin-1"),
        "QUERY_STRING": request.query.decode("latin-1"),
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1]),
        "SERVER_PROTOCOL": f"HTTP/{request.version}",
        "REMOTE_ADDR": client[0] if client else "",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "chat.started": request.started,
        "wsgi.input": BytesIO(request.body),
    }
    for name, value in request.headers:
        if b"_" in name:
            continue  # it would collide with the header spelled with hyphens
        variable = variable_of(name)
        text = value.decode("latin-1")
        if variable in environ:
            text = f"{environ[variable]},{text}"
        environ[variable] = text
    environ["CONTENT_LENGTH"] = str(len(request.body))
    return environ


@lru_cache(maxsize=256)
def variable_of(header: bytes) -> str:
    """Return the WSGI variable name of a header."""
    name = header.decode("latin-1").upper().replace("-", "_")
    return name if name in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{name}"
