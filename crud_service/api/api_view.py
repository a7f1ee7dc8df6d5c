"""The base class of all API views: REST framework's view, stripped down.

Its request parsers and content negotiation are left out not only for speed:
they honour a form's `_method`, accept NaN, and refuse bodies that we accept.
"""

from typing import Any, ClassVar, NoReturn

import orjson
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from rest_framework.views import APIView

from crud_service.api.etags import Preconditions
from crud_service.api.responses import problem_of, problem_response
from web.fields import MAX_REQUEST_BYTES, find_field
from web.problems import BodyTooLarge, MethodNotAllowed, UnsupportedMediaType

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


class ApiView(APIView):
    """A view with one function per HTTP method; any exception becomes a problem document."""

    default_response_headers: ClassVar[dict[str, str]] = {}
    request: HttpRequest  # type: ignore[assignment]  # Django's own request, not wrapped

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        return request

    def initial(self, request: Any, *args: Any, **kwargs: Any) -> None:
        """Do nothing: no versioning, content negotiation, authentication or throttling."""

    def finalize_response(
        self, request: Any, response: HttpResponseBase, *args: Any, **kwargs: Any
    ) -> Any:
        return response

    def handle_exception(self, exc: Exception) -> Any:
        return problem_response(problem_of(exc, self.request), self.request)

    def http_method_not_allowed(self, request: Any, *args: Any, **kwargs: Any) -> NoReturn:
        raise MethodNotAllowed([m for m in METHODS if hasattr(self, m.lower())])

    # REST framework would describe the view; that is not part of this API.
    options = http_method_not_allowed


def read_body(request: HttpRequest) -> bytes:
    """Return the request's body; raise BodyTooLarge above MAX_REQUEST_BYTES.

    `web.server` refuses such a body earlier; this also holds behind other WSGI servers.
    """
    length = int(request.META.get("CONTENT_LENGTH") or 0)
    if length > MAX_REQUEST_BYTES:
        raise BodyTooLarge
    body: bytes = request.META["wsgi.input"].read(length)
    return body


def field(request: HttpRequest, name: str) -> object:
    """Return a field's value from the body or the query string, or MISSING."""
    return find_fields(request, (name,))[name]


def find_fields(request: HttpRequest, names: tuple[str, ...]) -> dict[str, object]:
    """Return the values of the named fields; MISSING for a field that was not sent."""
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


def preconditions(request: HttpRequest) -> Preconditions:
    """Return the request's preconditions, from its headers."""
    return Preconditions(request.META.get("HTTP_IF_MATCH"), request.META.get("HTTP_IF_NONE_MATCH"))
