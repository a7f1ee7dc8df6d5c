"""The two creation paths, answered in front of the framework's middleware and routing.

A batch of requests costs one round trip to Redis; next to that, routing and
middleware would cost the most. So this ASGI callable answers the two paths
itself, and hands every other request to the FastAPI application.
"""

import logging
from time import perf_counter

from contract.problems import CONTENT_TYPE, InternalError, Problem, StoreUnavailable
from contract.request_id import HEADER
from numbering_service.access_log import AccessLog
from numbering_service.batching import Batcher
from numbering_service.creation import Created, Creation
from numbering_service.requests import (
    Target,
    read_creation,
    read_head,
    read_request_id,
)
from numbering_service.seeding import Seeding
from web.asgi import REQUEST, Receive, Scope, Send

MAX_SEEDINGS = 5

_CREATED = (
    "content-type: application/json\r\n"
    "x-content-type-options: nosniff\r\n"
    "cache-control: no-store\r\n"
)
_NOSNIFF = (b"x-content-type-options", b"nosniff")
_NO_STORE = (b"cache-control", b"no-store")
_PROBLEM = (b"content-type", CONTENT_TYPE.encode())
_REQUEST_ID = HEADER.lower().encode()

_log = logging.getLogger(__name__)


class Creations:
    """Creates chats and messages; every other request goes on to `framework`."""

    def __init__(self, batcher: Batcher, seeding: Seeding, log: AccessLog, public_url: str) -> None:
        self._batcher = batcher
        self._seeding = seeding
        self._log = log
        self._public_url = public_url

    async def answer(self, target: Target, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a POST to one of the two paths."""
        started = perf_counter()
        headers = scope["headers"]
        request_id = read_request_id(headers)
        try:
            head = read_head(headers, request_id)
            body = (await receive())["body"]
            creation = read_creation(target, head, scope["query_string"], body)
            created = await self.create(creation)
        except Problem as problem:
            status = await send_problem(send, problem, scope["path"], request_id)
        except Exception:
            _log.exception("creation failed", extra={"request_id": request_id})
            status = await send_problem(send, InternalError(), scope["path"], request_id)
        else:
            status = 201
            await self._send_created(scope, creation, created)
        self._log.request(request_id, target, status, started)

    async def create(self, creation: Creation) -> Created:
        """The number of a creation, seeding its sequence as often as it goes missing."""
        for _ in range(MAX_SEEDINGS):
            created = await self._batcher.submit(creation)
            if created is not None:
                return created
            await self._seeding.seed_sequence(creation)
        raise StoreUnavailable("The sequence keeps vanishing from Redis; nothing was changed.")

    async def _send_created(self, scope: Scope, creation: Creation, created: Created) -> None:
        token, number = creation.access_token, created.number
        # Tokens, numbers and request ids were matched by patterns: nothing needs escaping.
        if creation.chat_number is None:
            body = f'{{"number":{number},"access_token":"{token}"}}'
            path = f"/applications/{token}/chats/{number}"
        else:
            chat = creation.chat_number
            body = f'{{"number":{number},"chat_number":{chat},"access_token":"{token}"}}'
            path = f"/applications/{token}/chats/{chat}/messages/{number}"
        replayed = "idempotent-replayed: true\r\n" if created.replayed else ""
        headers = (
            f"{_CREATED}location: {self._public_url}{path}\r\n"
            f"x-request-id: {creation.request_id}\r\n{replayed}content-length: {len(body)}\r\n"
        )
        scope["extensions"][REQUEST].answer(201, headers.encode(), body.encode())


async def send_problem(send: Send, problem: Problem, path: str, request_id: str) -> int:
    """Answer with a problem document; returns its status."""
    body = problem.render(path, request_id)
    headers = [
        _PROBLEM,
        (b"content-length", b"%d" % len(body)),
        (_REQUEST_ID, request_id.encode()),
        _NOSNIFF,
        _NO_STORE,
        *((name.lower().encode(), value.encode()) for name, value in problem.headers.items()),
    ]
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
    return problem.status
