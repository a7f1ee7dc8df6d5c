"""The OpenAPI document, and Swagger UI for it, without any external resources."""

from functools import cache
from pathlib import Path

import orjson
from django.conf import settings
from django.http import HttpResponse
from rest_framework.request import Request
from rest_framework.response import Response

from crud_service.api.api_view import ApiView
from crud_service.schema.openapi import openapi_document
from web.openapi import POLICY

TEMPLATES = Path(__file__).parent / "templates"


@cache
def rendered_document(admin_token: bool) -> bytes:
    return orjson.dumps(openapi_document(admin_token=admin_token))


class OpenApiView(ApiView):
    def get(self, request: Request) -> Response:
        return Response(rendered_document(bool(settings.ADMIN_TOKEN)))


class DocsView(ApiView):
    def get(self, request: Request) -> HttpResponse:
        page = (TEMPLATES / "docs.html").read_bytes()
        return HttpResponse(page, headers={"Content-Security-Policy": POLICY})
