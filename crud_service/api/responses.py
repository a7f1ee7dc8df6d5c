"""Problem documents as responses: for errors in views, and for those outside of them."""

import logging
from collections.abc import Mapping
from string import ascii_letters, digits
from typing import Any
from urllib.parse import quote

from django.core.exceptions import SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.views import APIView

from contract.paths import mask_path
from web.problems import (
    CONTENT_TYPE,
    InternalError,
    MalformedRequest,
    MethodNotAllowed,
    NotFound,
    Problem,
    Unauthorized,
    ValidationFailed,
)

logger = logging.getLogger(__name__)


def problem_response(problem: Problem, request: HttpRequest | Request) -> HttpResponse:
    """Return a problem as an answer of Django, with the path and the id of its request."""
    return HttpResponse(
        problem.render(request.path, getattr(request, "request_id", "")),
        status=problem.status,
        content_type=CONTENT_TYPE,
        headers=problem.headers,
    )


def handle_exception(error: Exception, context: Mapping[str, Any]) -> HttpResponse:
    """REST framework's EXCEPTION_HANDLER: answer any exception of a view."""
    request: Request = context["request"]
    return problem_response(to_problem(error, request, context["view"]), request)


def to_problem(error: Exception, request: Request, view: APIView) -> Problem:
    """Convert an exception to a problem; log an unexpected one and make it a 500."""
    match error:
        case Problem():
            return error
        case exceptions.ValidationError():
            return validation_failed(error)
        case exceptions.NotAuthenticated():
            return Unauthorized()
        case exceptions.MethodNotAllowed():
            return MethodNotAllowed(view.allowed_methods)
        case Http404():
            return NotFound()
        case SuspiciousOperation():
            return MalformedRequest()
    extra = {"request_id": getattr(request, "request_id", "")}
    logger.error("unexpected error: %s", type(error).__name__, exc_info=error, extra=extra)
    return InternalError()


def validation_failed(error: exceptions.ValidationError) -> ValidationFailed:
    """Return the problem that names each message of a serializer with its field."""
    detail: Any = error.detail
    first, *more = [(field, str(text)) for field, texts in detail.items() for text in texts]
    return ValidationFailed(*first, *more)


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Django's handler404: an unknown path."""
    return problem_response(NotFound(), request)


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Django's handler400: a request that Django refuses to read."""
    return problem_response(MalformedRequest(), request)


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's handler500: an error outside of a view."""
    return problem_response(InternalError(), request)


def safe_path(path: str) -> str:
    """Return a path fit for a quoted log field: truncated, percent-encoded, tokens masked."""
    visible = path[:512]
    if len(visible) < len(path):  # it may end within a token, which is none without its end
        visible = visible.rstrip(ascii_letters + digits)
    return mask_path(quote(visible, safe="/:"))
