"""Fast path on the event loop for GETs of an application, a chat, a message, and liveness.

It gives only the answer 200; any other outcome (404, 304) is left to the views,
which start afresh. Only a 503 is final as well: asking an unavailable store
again would take as long again.
"""

import logging
import re
from time import perf_counter

from contract.paths import MAX_NUMBER, TOKEN_PATTERN, mask_token
from crud_service.api.etags import etag
from crud_service.api.responses import ALIVE, SAFE_HEADERS
from crud_service.chat import reading
from crud_service.monitoring.request_log import RequestLog
from crud_service.reads.gathered_reads import GatheredReads, Key
from crud_service.reads.quick_reads import JSON, Answer, unavailable
from web.problems import StoreUnavailable
from web.request_id import HEADER
from web.server.request import Request

logger = logging.getLogger(__name__)

_NUMBER = "([1-9][0-9]{0,18})"
_PATH = re.compile(
    rf"/applications/({TOKEN_PATTERN})(?:/chats/{_NUMBER}(?:/messages/{_NUMBER})?)?/?", re.ASCII
)
# Answered here because every thread may be waiting for a frozen store.
LIVE = frozenset({"/health/live", "/health/live/"})
# A GET with one of these headers is conditional or has a body: left to the views.
_NOT_PLAIN = frozenset({b"if-none-match", b"content-length", b"transfer-encoding"})
_SAFE = "".join(f"{name}: {value}\r\n" for name, value in SAFE_HEADERS)


class Pending:
    """A GET that waits for its resource."""

    __slots__ = ("_reads", "key", "log_path", "request", "route")

    def __init__(
        self, reads: "ResourceReads", request: Request, route: str, key: Key, log_path: str
    ) -> None:
        self._reads = reads
        self.request = request
        self.route = route
        self.key = key
        self.log_path = log_path

    def settle(self, found: bytes | StoreUnavailable | None) -> None:
        try:
            self._reads.settle(self, found)
        except Exception:
            logger.exception("a read failed")
            self.request.abort()


class ResourceReads:
    """Answer plain GETs of resources; create and use it on a single event loop."""

    def __init__(self, log: RequestLog) -> None:
        self._log = log
        # Keyed by the number of identifiers in the path.
        self._kinds = {
            1: ("application", GatheredReads(reading.APPLICATION)),
            2: ("chat", GatheredReads(reading.CHAT)),
            3: ("message", GatheredReads(reading.MESSAGE)),
        }

    def handle(self, request: Request) -> bool:
        """Answer a GET, now or later; return False if it is not on the fast path.

        A request that turns out not to be a 200 or 503 is passed on to the application.
        """
        path = request.path
        if path in LIVE:
            self._answer(request, Answer("health_live", path, ALIVE, [JSON]), request.id)
            return True
        match = _PATH.fullmatch(path)
        if match is None or request.method == "HEAD":
            return False
        key = tuple([part for part in match.groups() if part is not None])
        if any(int(number) > MAX_NUMBER for number in key[1:]):
            return False
        if any(name in _NOT_PLAIN for name, _ in request.headers):
            return False
        route, reads = self._kinds[len(key)]
        log_path = f"/applications/{mask_token(key[0])}{path[38:]}"
        reads.find(Pending(self, request, route, key, log_path))
        return True

    def settle(self, pending: Pending, found: bytes | StoreUnavailable | None) -> None:
        """Answer with the resource or a 503; pass the request on if there is no resource."""
        request = pending.request
        if found is None:
            request.pass_on()
            return
        request_id = request.id
        if isinstance(found, StoreUnavailable):
            answer = unavailable(pending.route, pending.log_path, found, request.path, request_id)
        else:
            answer = Answer(pending.route, pending.log_path, found, [JSON, ("ETag", etag(found))])
        self._answer(request, answer, request_id)

    def _answer(self, request: Request, answer: Answer, request_id: str) -> None:
        headers = "".join([f"{name}: {value}\r\n" for name, value in answer.headers])
        head = f"{headers}{HEADER}: {request_id}\r\n{_SAFE}Content-Length: {len(answer.body)}\r\n"
        request.answer(answer.status, head.encode("latin-1"), answer.body)
        seconds = perf_counter() - request.started
        self._log.note(
            request_id, request.method, answer.route, answer.path, answer.status, seconds
        )

    async def close(self) -> None:
        """Close the connections."""
        for _, reads in self._kinds.values():
            await reads.close()
