"""GETs of an application, a chat, a message and liveness: on the event loop, in front of Django.

Nothing but the answer 200 is given here; whatever else it may become (404,
304) is left to the views, as if we had not looked. Only a 503 is final too:
asking a store again takes as long again.
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
# Answered here so that it is, when every thread waits for a store that is frozen.
LIVE = frozenset({"/health/live", "/health/live/"})
# With one of these a GET of a resource is more than it seems.
_NOT_PLAIN = frozenset({b"if-none-match", b"content-length", b"transfer-encoding"})
_SAFE = "".join(f"{name}: {value}\r\n" for name, value in SAFE_HEADERS)


class Pending:
    """A GET of a resource that waits for its row."""

    __slots__ = ("_reads", "key", "request", "route", "shown")

    def __init__(
        self, reads: "ResourceReads", request: Request, route: str, key: Key, shown: str
    ) -> None:
        self._reads = reads
        self.request = request
        self.route = route
        self.key = key
        self.shown = shown

    def settle(self, found: bytes | StoreUnavailable | None) -> None:
        try:
            self._reads.settle(self, found)
        except Exception:
            logger.exception("a read failed")
            self.request.abort()


class ResourceReads:
    """Answers what it can; made and used on one event loop."""

    def __init__(self, log: RequestLog) -> None:
        self._log = log
        # By how many parts their paths name.
        self._kinds = {
            1: ("application", GatheredReads(reading.APPLICATION)),
            2: ("chat", GatheredReads(reading.CHAT)),
            3: ("message", GatheredReads(reading.MESSAGE)),
        }

    def handle(self, request: Request) -> bool:
        """Answer a GET, now or later; False when it is not one of ours.

        One of ours that turns out to be no 200 is passed on to the application.
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
        shown = f"/applications/{mask_token(key[0])}{path[38:]}"
        reads.find(Pending(self, request, route, key, shown))
        return True

    def settle(self, pending: Pending, found: bytes | StoreUnavailable | None) -> None:
        """Answer a GET by its resource, by why that cannot be had, or not at all."""
        request = pending.request
        if found is None:
            request.pass_on()
            return
        known_by = request.id
        if isinstance(found, StoreUnavailable):
            answer = unavailable(pending.route, pending.shown, found, request.path, known_by)
        else:
            answer = Answer(pending.route, pending.shown, found, [JSON, ("ETag", etag(found))])
        self._answer(request, answer, known_by)

    def _answer(self, request: Request, answer: Answer, known_by: str) -> None:
        headers = "".join([f"{name}: {value}\r\n" for name, value in answer.headers])
        head = f"{headers}{HEADER}: {known_by}\r\n{_SAFE}Content-Length: {len(answer.body)}\r\n"
        request.answer(answer.status, head.encode("latin-1"), answer.body)
        seconds = perf_counter() - request.started
        self._log.note(known_by, request.method, answer.route, answer.path, answer.status, seconds)

    async def close(self) -> None:
        """Close the connections."""
        for _, reads in self._kinds.values():
            await reads.close()
