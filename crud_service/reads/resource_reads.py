"""The one way around Django: GET and HEAD of an application, a chat or a message, and liveness.

What is answered here is answered completely, whatever the outcome (200, 304, 404, 503), and
byte for byte as the views would (`tests/…/test_both_ways.py`). FAST_READS=0 switches it off.
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any, NamedTuple

from contract.paths import MAX_NUMBER, NUMBER_PATTERN, TOKEN_PATTERN, mask_token
from crud_service.api.etags import etag, if_none_match_holds
from crud_service.api.not_stored_yet import missing_application, missing_chat, missing_message
from crud_service.chat import reading
from crud_service.monitoring.health import ALIVE
from crud_service.monitoring.request_log import RequestLog
from crud_service.reads.gathered_reads import GatheredReads, Key
from web.problems import (
    CONTENT_TYPE,
    InternalError,
    NotFound,
    Overloaded,
    Problem,
    StoreUnavailable,
)
from web.request_id import HEADER
from web.server.request import Request

logger = logging.getLogger(__name__)

_PATH = re.compile(
    rf"/applications/({TOKEN_PATTERN})"
    rf"(?:/chats/({NUMBER_PATTERN})(?:/messages/({NUMBER_PATTERN}))?)?/?",
    re.ASCII,
)
LIVE = frozenset({"/health/live", "/health/live/"})
JSON = "Content-Type: application/json\r\n"
# What Django's middleware adds to an answer, in its order.
MIDDLEWARE = (
    "X-Frame-Options: DENY\r\n"
    "X-Content-Type-Options: nosniff\r\n"
    "Referrer-Policy: no-referrer\r\n"
    "Cross-Origin-Opener-Policy: same-origin\r\n"
)

# Runs a function in a thread, for the owner given first.
InThread = Callable[..., Awaitable[Any]]


class Route(NamedTuple):
    """A kind of resource: the URL's name, its statement, and the problem if it is missing."""

    name: str
    statement: str
    missing: Callable[..., NotFound]


# Keyed by the number of identifiers in the path. Liveness is answered here because every
# thread may be waiting for a frozen store.
ROUTES = {
    0: Route("health_live", "", NotFound),
    1: Route("application", reading.APPLICATION, missing_application),
    2: Route("chat", reading.CHAT, missing_chat),
    3: Route("message", reading.MESSAGE, missing_message),
}


class Pending:
    """A request that waits for its resource."""

    __slots__ = ("_reads", "key", "log_path", "request", "request_id")

    def __init__(self, reads: "ResourceReads", request: Request, key: Key, log_path: str) -> None:
        self._reads = reads
        self.request = request
        self.request_id = request.id
        self.key = key
        self.log_path = log_path

    @property
    def route(self) -> Route:
        """The kind of resource that the key names."""
        return ROUTES[len(self.key)]

    def settle(self, found: bytes | StoreUnavailable | None) -> None:
        try:
            self._reads.settle(self, found)
        except Exception:
            logger.exception("a read failed")
            self.request.abort()


class ResourceReads:
    """Answers GETs of resources; create and use it on a single event loop."""

    def __init__(self, log: RequestLog, in_thread: InThread) -> None:
        self._log = log
        self._in_thread = in_thread
        self._looking: set[asyncio.Task[None]] = set()
        self._reads = {
            depth: GatheredReads(route.statement) for depth, route in ROUTES.items() if depth
        }

    def handle(self, request: Request) -> bool:
        """Answer a request, now or later; return False if it has another path or method."""
        if request.method not in {"GET", "HEAD"}:
            return False
        path = request.path
        if path in LIVE:
            self._answer(Pending(self, request, (), path), 200, JSON, ALIVE)
            return True
        match = _PATH.fullmatch(path)
        if match is None:
            return False
        key = tuple([part for part in match.groups() if part is not None])
        if any(int(number) > MAX_NUMBER for number in key[1:]):
            return False
        log_path = f"/applications/{mask_token(key[0])}{path[38:]}"
        self._reads[len(key)].find(Pending(self, request, key, log_path))
        return True

    async def close(self) -> None:
        """Close the connections."""
        for reads in self._reads.values():
            await reads.close()

    def settle(self, pending: Pending, found: bytes | StoreUnavailable | None) -> None:
        """Answer with the resource, or with the reason why there is none."""
        if found is None:
            looking = asyncio.get_running_loop().create_task(self._report_missing(pending))
            self._looking.add(looking)
            looking.add_done_callback(self._looking.discard)
        elif isinstance(found, StoreUnavailable):
            self._refuse(pending, found)
        else:
            self._find(pending, found)

    def _find(self, pending: Pending, found: bytes) -> None:
        tag = etag(found)
        if if_none_match_holds(if_none_match(pending.request), tag):
            self._answer(pending, 200, f"{JSON}ETag: {tag}\r\n", found)
        else:
            self._answer(pending, 304, f"ETag: {tag}\r\n", None)

    async def _report_missing(self, pending: Pending) -> None:
        """Answer 404, or that the resource is not stored yet: Redis is asked, in a thread."""
        token, *numbers = pending.key
        try:
            problem = await self._in_thread(token, pending.route.missing, token, *map(int, numbers))
        except Overloaded as overloaded:
            problem = overloaded
        except Exception:
            logger.exception("a read failed")
            problem = InternalError()
        self._refuse(pending, problem)

    def _refuse(self, pending: Pending, problem: Problem) -> None:
        own = "".join([f"{name}: {value}\r\n" for name, value in problem.headers.items()])
        body = problem.render(pending.request.path, pending.request_id)
        self._answer(pending, problem.status, f"{own}Content-Type: {CONTENT_TYPE}\r\n", body)

    def _answer(self, pending: Pending, status: int, lines: str, body: bytes | None) -> None:
        """Send and log an answer; `lines` are its own headers, and 304 has no body."""
        request, request_id = pending.request, pending.request_id
        length = "" if body is None else f"Content-Length: {len(body)}\r\n"
        head = f"{lines}{MIDDLEWARE}{HEADER}: {request_id}\r\nServer: crud\r\n{length}"
        request.answer(status, head.encode("latin-1"), body or b"")
        seconds = perf_counter() - request.started
        route = pending.route.name
        self._log.note(request_id, request.method, route, pending.log_path, status, seconds)


def if_none_match(request: Request) -> str | None:
    """Return the header `If-None-Match`, the values of several joined by commas."""
    values = [value for name, value in request.headers if name == b"if-none-match"]
    return b",".join(values).decode("latin-1") if values else None
