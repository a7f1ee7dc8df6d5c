"""Responses: JSON that is already encoded, and problem documents."""

import logging
from collections.abc import Mapping
from urllib.parse import quote

from django.http import HttpRequest, HttpResponse

from contract.paths import mask_path
from web.problems import CONTENT_TYPE, InternalError, NotFound, Problem

# They restrict browsers, and do not reveal which software runs here.
SAFE_HEADERS = (
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Server", "crud"),
)

# The answer to a liveness probe.
ALIVE = b'{"status":"ok"}'

logger = logging.getLogger(__name__)


def json_response(
    body: bytes, status: int = 200, headers: Mapping[str, str] | None = None
) -> HttpResponse:
    """Return a response whose body is already JSON."""
    return HttpResponse(body, status=status, content_type="application/json", headers=headers)


def problem_response(problem: Problem, request: HttpRequest) -> HttpResponse:
    """Return a problem document as a response."""
    request_id = getattr(request, "request_id", "")
    return HttpResponse(
        problem.render(request.path, request_id),
        status=problem.status,
        content_type=CONTENT_TYPE,
        headers=problem.headers,
    )


def problem_of(error: Exception, request: HttpRequest) -> Problem:
    """Convert an exception to a problem; log an unexpected one and make it a 500."""
    if isinstance(error, Problem):
        return error
    extra = {"request_id": getattr(request, "request_id", "")}
    logger.error("unforeseen: %s", type(error).__name__, exc_info=error, extra=extra)
    return InternalError()


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Django's handler404: an unknown path."""
    return problem_response(NotFound(), request)


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's handler500: an error outside of a view."""
    return problem_response(InternalError(), request)


def safe_path(path: str) -> str:
    """Return a path fit for a quoted log field: truncated, percent-encoded, tokens masked."""
    return mask_path(quote(path[:512], safe="/:"))
