"""Creations that arrive over ASGI: read a bounded body, build a whole request, answer it.

The service's own HTTP server hands over whole requests and does not use this
module; other ASGI servers and test clients do.
"""

import asyncio
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any

from fastapi import Request as AsgiRequest
from fastapi.responses import Response

from web.fields import MAX_REQUEST_BYTES
from web.server.request import Request


class WholeRequest(Request):
    """A whole request built from an ASGI request; its answer is a future."""

    def __init__(self, request: AsgiRequest, body: bytes, started: float) -> None:
        scope = request.scope
        super().__init__(
            None,
            scope["method"],
            scope["path"],
            scope.get("raw_path") or b"",
            scope["query_string"],
            scope["http_version"],
            [(name, value) for name, value in scope["headers"]],
            body,
            started,
            size_of_head(scope),
        )
        self.answered: asyncio.Future[Response] = asyncio.get_running_loop().create_future()

    @property
    def is_disconnected(self) -> bool:
        """Whether the server cancelled the task that waits for the answer."""
        return self.answered.cancelled()

    def answer(self, status: int, headers: bytes, body: bytes) -> None:
        self.on_disconnect = None  # it may be a method of this object: free both now
        if not self.answered.done():
            response = Response(status_code=status)
            response.body = body
            response.raw_headers = parse_lines(headers)
            self.answered.set_result(response)


async def respond(request: AsgiRequest, answer: Callable[[WholeRequest], None]) -> Response:
    """Have `answer` answer an ASGI request; returns the response, raises ClientDisconnect."""
    body = b"" if is_declared_too_large(request) else await read_bounded(request)
    whole = WholeRequest(request, body, started=perf_counter())
    answer(whole)
    return await whole.answered


def size_of_head(scope: Mapping[str, Any]) -> int:
    """Return how many bytes the query and the headers of an ASGI request have."""
    headers = scope["headers"]
    return len(scope["query_string"]) + sum(len(name) + len(value) for name, value in headers)


def is_declared_too_large(request: AsgiRequest) -> bool:
    """Whether Content-Length alone is over the limit, so that the body need not be read."""
    declared = request.headers.get("content-length", "")
    return declared.isdecimal() and int(declared.lstrip("0")[:20] or 0) > MAX_REQUEST_BYTES


async def read_bounded(request: AsgiRequest) -> bytes:
    """Return the body; stop reading once it exceeds the limit."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_REQUEST_BYTES:
            break
    return bytes(body)


def parse_lines(lines: bytes) -> list[tuple[bytes, bytes]]:
    pairs = (line.split(b": ", 1) for line in lines.split(b"\r\n") if line)
    return [(name, value) for name, value in pairs]
