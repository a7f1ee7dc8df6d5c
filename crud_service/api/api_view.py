"""The base of every view of the API: REST framework's view without what the API does not use.

Its request parsers and content negotiation are left out not for speed alone:
they follow a form's `_method`, accept NaN, and refuse bodies that we take.
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
    """The body of a request, all of which is here; raises BodyTooLarge.

    Of one that is too long the server took no more than tells so.
    """
    length = int(request.META.get("CONTENT_LENGTH") or 0)
    if length > MAX_REQUEST_BYTES:
        raise BodyTooLarge
    body: bytes = request.META["wsgi.input"].read(length)
    return body


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


def preconditions(request: HttpRequest) -> Preconditions:
    """What the request's change depends on."""
    return Preconditions(request.META.get("HTTP_IF_MATCH"), request.META.get("HTTP_IF_NONE_MATCH"))
