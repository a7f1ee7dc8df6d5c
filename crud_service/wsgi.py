"""The WSGI application: a thin wrapper around Django's handler, with a fast path.

It gives every request, whatever its outcome, a request id, a log line, metrics
and security headers. All of it is here and not in Django's middleware, where
setting one header costs more than a view.
"""

import os
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

import django
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.http import HttpResponse
from django.urls import get_resolver

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "crud_service.settings")
django.setup(set_prefix=False)

from crud_service import settings  # noqa: E402 - Django's settings come first
from crud_service.api.long_lists import answer_body  # noqa: E402 - the same
from crud_service.api.responses import SAFE_HEADERS, problem_response, safe_path  # noqa: E402 - the same
from crud_service.monitoring.request_log import RequestLog, known_method  # noqa: E402 - the same
from crud_service.reads.quick_reads import quick_read, unavailable  # noqa: E402 - the same
from crud_service.server.pools import owner_of  # noqa: E402 - the same
from web.problems import Overloaded  # noqa: E402 - the same
from web.request_id import HEADER  # noqa: E402 - the same
from web.request_id import request_id as request_id_of  # noqa: E402 - the same

StartResponse = Callable[[str, list[tuple[str, str]]], Any]
Environ = dict[str, Any]

STATUS_LINES = {status: f"{status} {HTTPStatus(status).phrase}" for status in (200, 503)}

request_log = RequestLog(shown=settings.LOG_LEVEL in {"DEBUG", "INFO"})


class Request(WSGIRequest):
    """Django's request, but tolerant of content types that Django fails to parse."""

    def _set_content_type_params(self, meta: Environ) -> None:
        try:
            super()._set_content_type_params(meta)  # type: ignore[misc]
        except Exception:
            self.content_type, self.content_params = "", {}


class Handler(WSGIHandler):
    """Django's handler, without the signals around a request: their receivers manage the
    ORM's connections, which only the admin uses (see `operators.middleware`).
    """

    def __call__(  # type: ignore[override]
        self, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        started = environ.get("chat.started") or time.perf_counter()
        request_id = request_id_of(environ.get("HTTP_X_REQUEST_ID"))
        method = environ["REQUEST_METHOD"]
        quick = quick_read(environ, request_id) if method == "GET" else None
        if quick is None:
            return self.through_django(environ, start_response, request_id, started)
        try:
            body = answer_body(owner_of(environ["PATH_INFO"]), quick.body)
        except Overloaded as problem:
            path = environ["PATH_INFO"]
            quick = unavailable(quick.route, quick.path, problem, path, request_id)
            body = [quick.body]
        headers = [*quick.headers, (HEADER, request_id), *SAFE_HEADERS]
        headers.append(("Content-Length", str(len(quick.body))))
        start_response(STATUS_LINES[quick.status], headers)
        seconds = time.perf_counter() - started
        request_log.note(request_id, method, quick.route, quick.path, quick.status, seconds)
        return body

    def through_django(
        self, environ: Environ, start_response: StartResponse, request_id: str, started: float
    ) -> Iterable[bytes]:
        """Answer any request; return a one-piece body as a list, which servers send at once."""
        request = Request(environ)
        request.request_id = request_id  # type: ignore[attr-defined]
        response = self.get_response(request)
        body: Iterable[bytes] = response
        if isinstance(response, HttpResponse):
            try:
                body = answer_body(owner_of(request.path), response.content)
            except Overloaded as problem:
                response = problem_response(problem, request)
                body = [response.content]
        response.headers[HEADER] = request_id
        for name, value in SAFE_HEADERS:
            response.headers.setdefault(name, value)
        headers = list(response.items())
        headers += [("Set-Cookie", c.OutputString()) for c in response.cookies.values()]
        if isinstance(response, HttpResponse) and response.status_code != HTTPStatus.NOT_MODIFIED:
            headers.append(("Content-Length", str(len(response.content))))
        start_response(f"{response.status_code} {response.reason_phrase}", headers)
        match = request.resolver_match
        request_log.note(
            request_id,
            known_method(request.method or ""),
            (match and match.view_name) or "unknown",
            safe_path(request.path),
            response.status_code,
            time.perf_counter() - started,
        )
        if request.method != "HEAD":
            return body
        if hasattr(body, "close"):
            body.close()  # closes a file, or frees the place of a long answer
        return [b""]


application = Handler()
# Import all views now; otherwise the first request would wait for it.
get_resolver().url_patterns  # noqa: B018 - a property that loads them
