"""Everything that is not a creation: errors as problem documents, request ids, the log."""

import logging
from collections.abc import Callable
from time import perf_counter

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Route

from numbering_service.api.endpoints import IS_COMPLETE
from numbering_service.creations.requests import read_target
from numbering_service.running import Running
from web.problems import CONTENT_TYPE, InternalError, MethodNotAllowed, NotFound, Problem
from web.request_id import HEADER
from web.server.answers import CLIENT_CLOSED
from web.server.asgi import Application, Message, Receive, Scope, Send
from web.server.request import id_of, known_method

INTERNAL_ERROR = 500

_log = logging.getLogger(__name__)


def add_error_handlers(api: FastAPI) -> None:
    """Have every error answered as a problem document."""
    for kind in (HTTPException, Problem, RequestValidationError):
        api.add_exception_handler(kind, answer_error)


async def answer_error(request: Request, error: Exception) -> Response:
    """Answer any error that the framework or an endpoint raises."""
    return render(request, to_problem(request, error))


def to_problem(request: Request, error: Exception) -> Problem:
    """Convert an error: 404 for an unknown path, 405 for a known one with another method."""
    if isinstance(error, Problem):
        return error
    methods = methods_of(request.app, request.scope["path"])
    if isinstance(error, HTTPException) and error.status_code == 405 and methods:
        return MethodNotAllowed(methods)
    # The framework validates paths only; `requests` validates everything else. A malformed
    # token or number is a 404, as the framework's own answer would echo it.
    return NotFound()


def methods_of(api: FastAPI, path: str) -> list[str]:
    """Return the methods that a path supports, none if there is no such path."""
    # The framework's pattern for a creation path is wider than ours.
    if path.startswith("/applications/") and read_target(path) is None:
        return []
    methods = {
        method
        for route in api.routes
        if isinstance(route, Route) and route.path_regex.match(path)
        for method in route.methods or ()
    }
    return sorted(methods | ({"HEAD"} if "GET" in methods else set()))


def render(request: Request, problem: Problem) -> Response:
    body = problem.render(request.scope["path"], request.scope["request_id"])
    return Response(body, problem.status, problem.headers, media_type=CONTENT_TYPE)


class HeadAsGet:
    """Routes HEAD as GET, which the framework doesn't; the server leaves the body out."""

    def __init__(self, api: FastAPI) -> None:
        self._api = api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_head = scope.get("method") == "HEAD"
        if is_head:
            scope["method"] = "GET"
        try:
            await self._api(scope, receive, send)
        finally:
            if is_head:
                scope["method"] = "HEAD"  # for the log


class Observed:
    """Middleware that gives every request an id, and every answer its headers and log line."""

    def __init__(self, api: Application, running: Callable[[], Running | None]) -> None:
        self._api = api
        self._running = running

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._api(scope, receive, send)
            return
        started = perf_counter()
        request_id = scope["request_id"] = id_of(scope["headers"])
        answer = Answer(send, scope, request_id)
        status = INTERNAL_ERROR
        try:
            await self._api(scope, receive, answer.send)
        except ClientDisconnect:
            status = CLIENT_CLOSED
        except Exception:
            _log.exception("request failed", extra={"request_id": request_id})
            if answer.status is None:
                response = render(Request(scope), InternalError())
                await response(scope, receive, answer.send)
        if IS_COMPLETE not in scope:
            self._note(scope, answer.status or status, request_id, started)

    def _note(self, scope: Scope, status: int, request_id: str, started: float) -> None:
        parts = self._running()
        if parts is not None:
            # The route and not the path: a client's input must neither be
            # logged raw nor become the label of a metric.
            route = getattr(scope.get("route"), "path", "unknown")
            method, seconds = known_method(scope["method"]), perf_counter() - started
            parts.log.note(request_id, method, route, route, status, seconds)


class Answer:
    """Forwards an answer, adds the headers that every answer has, and keeps its status."""

    def __init__(self, send: Send, scope: Scope, request_id: str) -> None:
        self._send = send
        self._scope = scope
        self._headers = [
            (HEADER.lower().encode(), request_id.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
        ]
        self.status: int | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if IS_COMPLETE not in self._scope:
                message["headers"] = self._complete(message["headers"])
        await self._send(message)

    def _complete(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        present = {name for name, _ in headers}
        return [*headers, *(header for header in self._headers if header[0] not in present)]
