"""The base class of the API's views, and how they take fields and preconditions."""

from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar

from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.serializers import Serializer

from crud_service.api.etags import Preconditions
from web.fields import parse_urlencoded


class ApiView(GenericAPIView[Any]):
    # OPTIONS would describe the view, which is not part of this API.
    http_method_names = ["get", "head", "post", "put", "patch", "delete"]
    # REST framework's own are `Allow` and `Vary`; a 405 gets its `Allow` with the problem.
    default_response_headers: ClassVar[dict[str, str]] = {}

    def perform_authentication(self, request: Request) -> None:
        """Leave it to the permissions that ask who sent a request: most views have none."""

    def validated(self, serializer: type[Serializer[Any]]) -> dict[str, Any]:
        """Return the request's valid fields; raise ValidationError if one is not valid."""
        body: Any = self.request.data
        query = self.request.META.get("QUERY_STRING", "")
        return valid_fields(serializer, body, query.encode("latin-1"))


@cache
def shared(serializer: type[Serializer[Any]]) -> Serializer[Any]:
    """Return the one instance of a serializer: making it copies its fields.

    `run_validation` keeps nothing of what it validates, so all threads may call it.
    """
    return serializer()


def valid_fields(
    serializer: type[Serializer[Any]], body: Mapping[str, object], query: bytes
) -> dict[str, Any]:
    """Return the valid fields of a serializer, each from the body or else the query string.

    Args:
        serializer: names the fields and checks them.
        body: the fields of the body.
        query: the query string.

    Raises ValidationError if one is not valid, and what `parse_urlencoded` raises.
    """
    fields = shared(serializer)
    names = tuple(fields.fields)
    sent = {name: body[name] for name in names if name in body}
    if query and len(sent) < len(names):
        sent |= parse_urlencoded(query, [name for name in names if name not in sent])
    valid: dict[str, Any] = fields.run_validation(sent)
    return valid


def preconditions(request: Request) -> Preconditions:
    """Return the entity tags that a request's conditions name."""
    return Preconditions(request.META.get("HTTP_IF_MATCH"), request.META.get("HTTP_IF_NONE_MATCH"))
