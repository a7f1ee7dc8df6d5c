"""The base of every view of the API: REST framework's view without what the API does not use.

Its request parsers and content negotiation are left out not for speed alone:
they follow a form's `_method`, accept NaN, and refuse bodies that we take.
"""

import time
from typing import Any, BinaryIO, ClassVar, NoReturn

import orjson
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from rest_framework.views import APIView

from contract.fields import MAX_REQUEST_BYTES, find_field
from contract.problems import (
    BodyTooLarge,
    MalformedRequest,
    MethodNotAllowed,
    RequestTimeout,
    UnsupportedMediaType,
)
from crud_service import silent_clients
from crud_service.responses import problem_of, problem_response
from crud_service.slow_clients import held_thread

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


class ApiView(APIView):
    """Methods are functions of the class named for them; errors are problems, raised anywhere."""

    default_response_headers: ClassVar[dict[str, str]] = {}
    request: HttpRequest  # type: ignore[assignment]  # Django's own: it is not wrapped here

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        return request

    def initial(self, request: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing: no version, no content negotiation, no user, no throttle."""

    def finalize_response(
        self, request: Any, response: HttpResponseBase, *args: Any, **kwargs: Any
    ) -> Any:
        return response

    def handle_exception(self, exc: Exception) -> Any:
        return problem_response(problem_of(exc, self.request), self.request)

    def http_method_not_allowed(self, request: Any, *args: Any, **kwargs: Any) -> NoReturn:
        raise MethodNotAllowed([m for m in METHODS if hasattr(self, m.lower())])

    # REST framework's own description of a view, and no part of this API.
    options = http_method_not_allowed


def read_body(request: HttpRequest) -> bytes:
    """The body of a request; raises BodyTooLarge as soon as more than the limit has arrived."""
    declared = request.META.get("CONTENT_LENGTH") or ""
    length = int(declared) if declared.isascii() and declared.isdigit() else 0
    if length > MAX_REQUEST_BYTES:
        raise BodyTooLarge
    if not length and "HTTP_TRANSFER_ENCODING" not in request.META:
        return b""
    started = time.monotonic()
    with held_thread():
        body = read_up_to(request.META["wsgi.input"], MAX_REQUEST_BYTES + 1)
    if len(body) > MAX_REQUEST_BYTES:
        raise BodyTooLarge
    # The server ends a body that breaks off like one that is whole. One in chunks
    # that breaks off between two values of a form cannot be told from a whole one.
    if len(body) < length or silent_clients.is_overdue(started):
        raise RequestTimeout if silent_clients.is_overdue(started) else cut_short()
    return body


def cut_short() -> MalformedRequest:
    """The problem of a body whose end never came."""
    return MalformedRequest("The body did not arrive in full.")


def read_up_to(stream: BinaryIO, size: int) -> bytes:
    """What a stream holds, up to a size; servers end it where the body ends."""
    chunks = []
    try:
        while size > 0 and (chunk := stream.read(min(size, 65536))):
            chunks.append(chunk)
            size -= len(chunk)
    except OSError as error:
        raise cut_short() from error
    return b"".join(chunks)


def field(request: HttpRequest, name: str) -> object:
    """A field's value from the body or the query string, or MISSING."""
    return find_fields(request, (name,))[name]


def find_fields(request: HttpRequest, names: tuple[str, ...]) -> dict[str, object]:
    """The values of some fields, each MISSING where it was not sent."""
    body = read_body(request)
    encoding = request.META.get("HTTP_CONTENT_ENCODING", "identity").strip().lower()
    if body and encoding != "identity":
        raise UnsupportedMediaType
    content_type = request.META.get("CONTENT_TYPE") or None
    query = request.META.get("QUERY_STRING", "").encode("latin-1")
    return {
        name: find_field(
            name, content_type=content_type, body=body, query=query, loads=orjson.loads
        )
        for name in names
    }


def if_match(request: HttpRequest) -> str | None:
    """The request's `If-Match`."""
    value: str | None = request.META.get("HTTP_IF_MATCH")
    return value
