"""Bridge from the HTTP server to Django: the event loop receives, threads answer.

A thread takes a request once it has arrived completely, and is free while the
client reads a long answer, so a slow client never holds a thread. A request
that breaks off early never reaches a view.
"""

import asyncio
import gc
import logging
import re
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from io import BytesIO
from itertools import chain
from time import perf_counter
from typing import Any, NamedTuple

from django.conf import settings

from crud_service.api.parsers import CONTENT_TYPE
from crud_service.api.responses import safe_path
from crud_service.fair_threads import chunks, log_cut_short
from crud_service.live.live import Live
from crud_service.live.stream_limits import STREAM_LIMITS, StreamLimits
from crud_service.live.wanted import concerns_live
from crud_service.monitoring.request_log import RequestLog
from crud_service.monitoring.request_record import REQUEST_ID, STARTED
from crud_service.reads.fast_reads import FastReads, django_problem, header_lines
from crud_service.server.logins import SITE
from crud_service.server.methods import methods_of
from crud_service.server.pools import Pools
from web.cors import Cors
from web.media_types import media_type_of, parameter_of
from web.problems import InternalError, Problem
from web.server.answers import BODILESS
from web.server.asgi import Receive, Scope, Send
from web.server.front import Addresses
from web.server.request import Request, known_method

Environ = dict[str, Any]
WsgiApplication = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]

# What joins the values of a header that was sent several times; a comma for all others. A key may
# contain a comma, but no line feed: two of them are not taken for one.
SEPARATORS = {"HTTP_COOKIE": "; ", "HTTP_IDEMPOTENCY_KEY": "\n"}
_PLAIN_TYPE = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+", re.ASCII)
_PLAIN_BOUNDARY = re.compile(r"[\w'()+,./:=?-]{1,70}", re.ASCII)

logger = logging.getLogger(__name__)


class Answer(NamedTuple):
    """The head of an answer, and its body: in one piece, or as the rest of the pieces."""

    status: int
    lines: bytes
    length: int | None
    whole: bytes
    rest: Iterator[bytes] | None
    close: Callable[[], None]


class Server:
    """Answers whole requests: on the event loop by `reads`, in threads by a WSGI application."""

    def __init__(
        self,
        application: WsgiApplication,
        log: RequestLog,
        stream_limits: StreamLimits = STREAM_LIMITS,
    ) -> None:
        self._application = application
        self._log = log
        pools = self._pools = Pools()
        self._reads = (
            FastReads(log, pools.requests, pools.searches) if settings.FAST_READS else None
        )
        self._live = Live(log, pools.requests, stream_limits)
        self.cors = Cors(settings.CORS_ORIGINS, methods_of) if settings.CORS_ORIGINS else None

    def handle(self, request: Request) -> bool:
        """Answer a request on the event loop, now or later; False if `respond` must do it."""
        if concerns_live(request):
            return False
        return self._reads is not None and self._reads.handle(request)

    async def respond(self, request: Request, addresses: Addresses) -> None:
        """Answer a request as a stream, or by the WSGI application in a thread.

        A list may wait here for something new, before it is answered as any other.
        """
        try:
            if concerns_live(request) and (
                await self._live.take(request)
                or (self._reads is not None and self._reads.handle(request))
            ):
                return
            environ = environ_of(request, addresses)
            threads, owner = self._pools.of(environ)
            answer = await threads.run(owner, self._answer, environ)
        except Problem as problem:
            self._refuse(request, problem)
        except Exception:
            logger.exception("a request failed", extra={"request_id": request.id})
            self._refuse(request, InternalError())
        except asyncio.CancelledError:
            request.abort()
            raise
        else:
            if answer.rest is None:
                request.answer(answer.status, answer.lines, answer.whole)
            else:
                await self._stream(request, answer, chunks(threads, owner, answer.rest))

    async def _stream(self, request: Request, answer: Answer, pieces: AsyncIterator[bytes]) -> None:
        try:
            await request.stream(answer.status, answer.lines, pieces, answer.length)
        except Exception as error:
            log_cut_short(error, request.id)
        finally:
            answer.close()

    def _answer(self, environ: Environ) -> Answer:
        """Run the application up to the first chunk of its answer; called in a thread."""
        head: list[Any] = []
        body = self._application(environ, lambda *arguments: head.extend(arguments))
        close = getattr(body, "close", lambda: None)
        status, headers = int(head[0][:3]), head[1]
        length = next((int(value) for name, value in headers if name == "Content-Length"), None)
        lines = header_lines(headers).encode("latin-1")
        pieces = iter(body)
        is_silent = environ["REQUEST_METHOD"] == "HEAD" or status in BODILESS
        try:
            first = b"" if is_silent else next(pieces, b"")
        except Exception:
            close()
            raise
        if is_silent or len(first) == length:
            close()
            return Answer(status, lines, length, first, None, close)
        environ["wsgi.input"].close()  # drops the body: the answer may take long to send
        return Answer(status, lines, length, b"", chain([first], pieces), close)

    def _refuse(self, request: Request, problem: Problem) -> None:
        """Answer with a problem that Django had no part in."""
        request.answer(problem.status, *django_problem(problem, request))
        method, path = known_method(request.method), safe_path(request.path)
        seconds = perf_counter() - request.started
        self._log.note(request.id, method, "unknown", path, problem.status, seconds)

    def note_answered(self, request_id: str, method: str, status: int) -> None:
        """Log a request that the HTTP server answered itself."""
        self._log.note(request_id, method, "unknown", "/", status, 0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI's lifespan; requests go to `handle` and `respond`."""
        await receive()
        self._log.start()
        self._live.start()
        # Objects alive now stay alive; scanning them would stop every thread for 70 ms at times.
        gc.collect()
        gc.freeze()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self._pools.shutdown()
        await self._live.close()
        if self._reads is not None:
            await self._reads.close()
        await send({"type": "lifespan.shutdown.complete"})


def environ_of(request: Request, addresses: Addresses) -> Environ:
    """Return the WSGI environ of a request (PEP 3333)."""
    client, server = addresses
    server = server or ("", 0)
    environ: Environ = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": request.path.encode().decode("latin-1"),
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
        "wsgi.input": BytesIO(request.body),
        STARTED: request.started,
        REQUEST_ID: request.id,
    }
    for name, value in request.headers:
        if b"_" in name:
            continue  # it would collide with the header spelled with hyphens
        variable = variable_of(name)
        text = value.decode("latin-1")
        if variable in environ:
            text = f"{environ[variable]}{SEPARATORS.get(variable, ',')}{text}"
        environ[variable] = text
    environ["CONTENT_LENGTH"] = str(len(request.body))
    environ[CONTENT_TYPE] = environ.pop("CONTENT_TYPE", "")
    environ["CONTENT_TYPE"] = plain_content_type(environ[CONTENT_TYPE])
    if not environ["PATH_INFO"].startswith(SITE):
        # Only the operators' site has a session; elsewhere a cookie must have no effect.
        environ.pop("HTTP_COOKIE", None)
    return environ


def variable_of(header: bytes) -> str:
    """Return the WSGI variable name of a header."""
    name = header.decode("latin-1").upper().replace("-", "_")
    return name if name in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{name}"


def plain_content_type(header: str) -> str:
    """Return a content type without the parameters that Django may fail to parse.

    It raises for some character sets and encoded parameters before a view could answer. Of the
    parameters it needs the boundary, for the forms of the operators' site.
    """
    media_type = media_type_of(header)
    boundary = parameter_of(header, "boundary") or ""
    if not _PLAIN_TYPE.fullmatch(media_type):
        return ""
    if not _PLAIN_BOUNDARY.fullmatch(boundary):
        return media_type
    return f'{media_type}; boundary="{boundary}"'
