"""The OpenAPI document, and a page to read it and try it out, all of it served from here."""

from functools import cache
from pathlib import Path

from django.http import HttpRequest, HttpResponse

from crud_service.chat.api_view import ApiView
from crud_service.responses import json_response

HERE = Path(__file__).parent
# Swagger UI sets styles on elements and draws its icons from data: addresses.
DOCS_POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)


@cache
def openapi_document() -> bytes:
    """The document as it is in the repository."""
    return (HERE / "openapi.json").read_bytes()


class OpenApiView(ApiView):
    """`/openapi.json`"""

    def get(self, request: HttpRequest) -> HttpResponse:
        return json_response(openapi_document())


class DocsView(ApiView):
    """`/docs`"""

    def get(self, request: HttpRequest) -> HttpResponse:
        page = (HERE / "templates" / "docs.html").read_bytes()
        return HttpResponse(page, headers={"Content-Security-Policy": DOCS_POLICY})
