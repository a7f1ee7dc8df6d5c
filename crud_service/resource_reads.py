"""GETs of an application, a chat, a message and liveness: on the event loop, in front of Django.

Nothing but the answer 200 is given here; whatever else it may become (404,
304) is left to the views, as if we had not looked. Only a 503 is final too:
asking a store again takes as long again.
"""

import re
from time import perf_counter

from contract.paths import MAX_NUMBER, TOKEN_PATTERN, mask_token
from contract.problems import StoreUnavailable
from contract.request_id import HEADER, request_id
from crud_service.chat import reading
from crud_service.chat.etags import etag
from crud_service.gathered_reads import GatheredReads
from crud_service.quick_reads import JSON, Answer, unavailable
from crud_service.request_log import RequestLog
from crud_service.responses import ALIVE, SAFE_HEADERS
from web.request import Request

_NUMBER = "([1-9][0-9]{0,18})"
_PATH = re.compile(
    rf"/applications/({TOKEN_PATTERN})(?:/chats/{_NUMBER}(?:/messages/{_NUMBER})?)?/?", re.ASCII
)
# Answered here so that it is, when every thread waits for a store that is frozen.
LIVE = frozenset({"/health/live", "/health/live/"})
# With one of these a GET of a resource is more than it seems.
_NOT_PLAIN = frozenset({b"if-none-match", b"content-length", b"transfer-encoding"})
_SAFE = "".join(f"{name}: {value}\r\n" for name, value in SAFE_HEADERS)


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

    async def answer(self, request: Request) -> bool:
        """Answer a GET; False when it is not one of ours, or not a 200."""
        path = request.path
        match = _PATH.fullmatch(path)
        is_head = request.method == "HEAD"
        if path not in LIVE if match is None else is_head:
            return False
        given_id = None
        for name, value in request.headers:
            if name == b"x-request-id":
                given_id = value.decode("latin-1")
            elif match is not None and name in _NOT_PLAIN:
                return False
        known_by = request_id(given_id)
        if match is None:
            answer: Answer | None = Answer("health_live", path, ALIVE, [JSON])
        else:
            answer = await self._find(match, known_by)
        if answer is None:
            return False
        headers = "".join([f"{name}: {value}\r\n" for name, value in answer.headers])
        head = f"{headers}{HEADER}: {known_by}\r\n{_SAFE}Content-Length: {len(answer.body)}\r\n"
        request.answer(answer.status, head.encode("latin-1"), answer.body)
        seconds = perf_counter() - request.started
        self._log.note(known_by, request.method, answer.route, answer.path, answer.status, seconds)
        return True

    async def _find(self, match: re.Match[str], known_by: str) -> Answer | None:
        """The resource of a path, or that its store is away; None for a 404."""
        key = tuple([part for part in match.groups() if part is not None])
        if any(int(number) > MAX_NUMBER for number in key[1:]):
            return None
        route, reads = self._kinds[len(key)]
        shown = f"/applications/{mask_token(key[0])}{match[0][38:]}"
        try:
            body = await reads.find(key)
        except StoreUnavailable as problem:
            return unavailable(route, shown, problem, match[0], known_by)
        if body is None:
            return None
        return Answer(route, shown, body, [JSON, ("ETag", etag(body))])

    async def close(self) -> None:
        """Close the connections."""
        for _, reads in self._kinds.values():
            await reads.close()
