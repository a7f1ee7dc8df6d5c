"""The outermost middleware: request id, log line, metrics and length of every answer."""

import time
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from crud_service.api.responses import safe_path
from crud_service.monitoring.request_log import request_log
from web.request_id import HEADER, request_id
from web.server.answers import BODILESS
from web.server.request import known_method

# Where the server puts what it knows of a request: its id, and when all of it had arrived.
REQUEST_ID = "chat.request_id"
STARTED = "chat.started"

GetResponse = Callable[[HttpRequest], HttpResponseBase]


class RequestRecord:
    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        meta = request.META
        started = meta.get(STARTED) or time.perf_counter()
        known_id = meta.get(REQUEST_ID) or request_id(meta.get("HTTP_X_REQUEST_ID"))
        request.request_id = known_id  # type: ignore[attr-defined]
        response = self.get_response(request)
        response.headers[HEADER] = known_id
        response.headers["Server"] = "crud"
        if isinstance(response, HttpResponse) and response.status_code not in BODILESS:
            response.headers["Content-Length"] = str(len(response.content))
        match = request.resolver_match
        request_log().note(
            known_id,
            known_method(request.method or ""),
            (match and match.view_name) or "unknown",
            safe_path(request.path),
            response.status_code,
            time.perf_counter() - started,
        )
        return response
