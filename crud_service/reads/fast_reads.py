"""The one way around Django: GET and HEAD of an application, a chat, messages and searches.

What is answered here is answered completely, whatever the outcome, and byte for byte as the
views would answer it (`test_both_ways.py`). FAST_READS=0 switches it off.
"""

import asyncio
import logging
import re
from collections.abc import Callable, Coroutine, Iterable
from time import perf_counter
from typing import Any, NamedTuple

from contract.paths import MAX_NUMBER, NUMBER_PATTERN, TOKEN_PATTERN, mask_token
from crud_service.api.etags import etag, if_none_match_holds
from crud_service.api.lists.list_answers import ListAnswer
from crud_service.api.lists.streamed_body import StreamedBody
from crud_service.api.not_stored_yet import missing_application, missing_chat, missing_message
from crud_service.chat import reading
from crud_service.fair_threads import FairThreads, chunks, log_cut_short
from crud_service.monitoring.health import ALIVE
from crud_service.monitoring.request_log import RequestLog
from crud_service.reads.gathered_reads import GatheredReads, Key
from crud_service.reads.replica_connection import connect_reads
from crud_service.reads.thread_reads import read_messages, read_search
from web.problems import CONTENT_TYPE, InternalError, Problem
from web.request_id import HEADER
from web.server.request import Request

logger = logging.getLogger(__name__)

_PATH = re.compile(
    rf"/applications/({TOKEN_PATTERN})"
    rf"(?:/chats/({NUMBER_PATTERN})(?:/(messages)(?:/({NUMBER_PATTERN})|/(search))?)?)?/?",
    re.ASCII,
)
# Answered here because every thread may be waiting for a frozen store.
LIVE = frozenset({"/health/live", "/health/live/"})
JSON = "Content-Type: application/json\r\n"
# What Django's middleware adds to an answer, in its order.
MIDDLEWARE = (
    "X-Frame-Options: DENY\r\n"
    "X-Content-Type-Options: nosniff\r\n"
    "Referrer-Policy: no-referrer\r\n"
    "Cross-Origin-Opener-Policy: same-origin\r\n"
)


class Resource(NamedTuple):
    """A kind of resource: the URL's name, its statement, and the problem if it is missing."""

    name: str
    statement: str
    missing: Callable[..., Problem]


# Keyed by the number of identifiers in the path.
RESOURCES = {
    1: Resource("application", reading.APPLICATION, missing_application),
    2: Resource("chat", reading.CHAT, missing_chat),
    3: Resource("message", reading.MESSAGE, missing_message),
}


class ThreadRead(NamedTuple):
    """A read that takes a thread: the pool, and the function, which may raise a Problem."""

    threads: FairThreads
    read: Callable[[Request, str, int], ListAnswer]


class Pending:
    """A request that is being answered; `route` is the name of its URL."""

    __slots__ = ("_reads", "key", "log_path", "request", "route")

    def __init__(
        self, reads: "FastReads", request: Request, route: str, key: Key, log_path: str
    ) -> None:
        self._reads = reads
        self.request = request
        self.route = route
        self.key = key
        self.log_path = log_path

    def settle(self, found: bytes | Problem | None) -> None:
        try:
            self._reads.settle(self, found)
        except Exception:
            self.fail()

    def fail(self) -> None:
        """End a request whose answer cannot be sent; called in an exception handler."""
        logger.exception("a read failed", extra={"request_id": self.request.id})
        self.request.abort()


class FastReads:
    """Answers such requests; create and use it on a single event loop."""

    def __init__(self, log: RequestLog, threads: FairThreads, searches: FairThreads) -> None:
        self._log = log
        self._threads = threads
        # Keyed by the URL's name.
        self._thread_reads = {
            "messages": ThreadRead(threads, read_messages),
            "search": ThreadRead(searches, read_search),
        }
        self._tasks: set[asyncio.Task[None]] = set()
        self._resources = {
            depth: (resource.name, GatheredReads(resource.statement, connect_reads()))
            for depth, resource in RESOURCES.items()
        }

    def handle(self, request: Request) -> bool:
        """Answer a request, now or later; return False if the views must do it."""
        if request.method not in {"GET", "HEAD"}:
            return False
        path = request.path
        if path in LIVE:
            self._answer(Pending(self, request, "health_live", (), path), 200, JSON, ALIVE)
            return True
        match = _PATH.fullmatch(path)
        if match is None:
            return False
        token, chat, messages, number, search = match.groups()
        key = tuple([part for part in (token, chat, number) if part is not None])
        for digits in key[1:]:
            if int(digits) > MAX_NUMBER:
                return False
        if search and request.body:  # the views read its fields, in any format
            return False
        request.drop_body()  # only a search has fields in its body
        log_path = f"/applications/{mask_token(token)}{path[38:]}"
        if messages and number is None:
            pending = Pending(self, request, search or messages, key, log_path)
            self._start(pending, self._read_in_thread(pending))
        else:
            name, reads = self._resources[len(key)]
            reads.find(Pending(self, request, name, key, log_path), token)
        return True

    async def close(self) -> None:
        """Close the connections."""
        for _, reads in self._resources.values():
            await reads.close()

    def settle(self, pending: Pending, found: bytes | Problem | None) -> None:
        """Answer with the resource, or with the reason why there is none."""
        if found is None:
            self._start(pending, self._report_missing(pending))
        elif isinstance(found, Problem):
            self._refuse(pending, found)
        else:
            tag = etag(found)
            if if_none_match_holds(pending.request.header(b"if-none-match"), tag):
                self._answer(pending, 200, f"{JSON}ETag: {tag}\r\n", found)
            else:
                self._answer(pending, 304, f"ETag: {tag}\r\n", None)

    def _start(self, pending: Pending, answering: Coroutine[Any, Any, None]) -> None:
        async def guarded() -> None:
            try:
                await answering
            except Exception:
                pending.fail()

        task = asyncio.get_running_loop().create_task(guarded())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _report_missing(self, pending: Pending) -> None:
        """Answer 404, or that the resource is not stored yet: Redis is asked, in a thread."""
        token, *numbers = pending.key
        missing = RESOURCES[len(pending.key)].missing
        problem: Problem
        try:
            problem = await self._threads.run(token, missing, token, *map(int, numbers))
        except Exception as error:
            problem = problem_of(error, pending.request.id)
        self._refuse(pending, problem)

    async def _read_in_thread(self, pending: Pending) -> None:
        """Answer with a list or a search, read in a thread; a long one is streamed."""
        token, chat = pending.key
        threads, read = self._thread_reads[pending.route]
        try:
            answer = await threads.run(token, read, pending.request, token, int(chat))
        except Exception as error:
            self._refuse(pending, problem_of(error, pending.request.id))
            return
        lines = header_lines(answer.headers.items())
        if isinstance(answer.body, StreamedBody):
            await self._stream(pending, f"{lines}{JSON}", answer.body)
        else:
            self._answer(pending, 200, f"{JSON}{lines}", answer.body)

    async def _stream(self, pending: Pending, lines: str, body: StreamedBody) -> None:
        request, token = pending.request, pending.key[0]
        self._note(pending, 200)
        try:
            pieces = chunks(self._thread_reads[pending.route].threads, token, body)
            await request.stream(200, head(lines, request.id), pieces, body.length)
        except Exception as error:
            log_cut_short(error, request.id)
        finally:
            body.close()

    def _refuse(self, pending: Pending, problem: Problem) -> None:
        pending.request.answer(problem.status, *django_problem(problem, pending.request))
        self._note(pending, problem.status)

    def _answer(self, pending: Pending, status: int, lines: str, body: bytes | None) -> None:
        """Send and log an answer; `lines` are its own headers, and 304 has no body."""
        pending.request.answer(status, head(lines, pending.request.id, body), body or b"")
        self._note(pending, status)

    def _note(self, pending: Pending, status: int) -> None:
        request = pending.request
        seconds = perf_counter() - request.started
        self._log.note(request.id, request.method, pending.route, pending.log_path, status, seconds)


def header_lines(headers: Iterable[tuple[str, str]]) -> str:
    """Return headers as they are sent, each with its line end."""
    return "".join([f"{name}: {value}\r\n" for name, value in headers])


def head(lines: str, request_id: str, body: bytes | None = None) -> bytes:
    """Return the header lines of an answer: its own, and those that the middleware adds.

    Args:
        lines: its own, each with its line end.
        request_id: the request's id.
        body: what `Content-Length` measures; None to leave that out.
    """
    length = "" if body is None else f"Content-Length: {len(body)}\r\n"
    added = f"{MIDDLEWARE}{HEADER}: {request_id}\r\nServer: crud\r\n"
    return f"{lines}{added}{length}".encode("latin-1")


def django_problem(problem: Problem, request: Request) -> tuple[bytes, bytes]:
    """Return the header lines and the body of the problem document that answers a request."""
    body = problem.render(request.path, request.id)
    lines = f"{header_lines(problem.headers.items())}Content-Type: {CONTENT_TYPE}\r\n"
    return head(lines, request.id, body), body


def problem_of(error: Exception, request_id: str) -> Problem:
    """Return the problem that an exception is; log an unexpected one."""
    if isinstance(error, Problem):
        return error
    extra = {"request_id": request_id}
    logger.error("unexpected error: %s", type(error).__name__, exc_info=error, extra=extra)
    return InternalError()
