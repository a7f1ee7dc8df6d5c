"""Answers: JSON that is ready as bytes, and problem documents."""

import logging
from collections.abc import Mapping
from urllib.parse import quote

from django.http import HttpRequest, HttpResponse

from contract.paths import mask_path
from web.problems import CONTENT_TYPE, InternalError, NotFound, Problem

# They make browsers careful, and tell nobody what runs here.
SAFE_HEADERS = (
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Server", "crud"),
)

# What a process answers that is asked if it lives.
ALIVE = b'{"status":"ok"}'

logger = logging.getLogger(__name__)


def json_response(
    body: bytes, status: int = 200, headers: Mapping[str, str] | None = None
) -> HttpResponse:
    """An answer whose body is JSON already."""
    return HttpResponse(body, status=status, content_type="application/json", headers=headers)


def problem_response(problem: Problem, request: HttpRequest) -> HttpResponse:
    """A problem as the client sees it."""
    request_id = getattr(request, "request_id", "")
    return HttpResponse(
        problem.render(request.path, request_id),
        status=problem.status,
        content_type=CONTENT_TYPE,
        headers=problem.headers,
    )


def problem_of(error: Exception, request: HttpRequest) -> Problem:
    """The problem that an exception stands for; what nobody foresaw is logged, and is a 500."""
    if isinstance(error, Problem):
        return error
    found_by = {"request_id": getattr(request, "request_id", "")}
    logger.error("unforeseen: %s", type(error).__name__, exc_info=error, extra=found_by)
    return InternalError()


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Django's handler404: an unknown path."""
    return problem_response(NotFound(), request)


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's handler500, for what went wrong outside of a view."""
    return problem_response(InternalError(), request)


def safe_path(path: str) -> str:
    """A path as it may stand in quotes in a log: short, plain, its tokens masked."""
    return mask_path(quote(path[:512], safe="/:"))
