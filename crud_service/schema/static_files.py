"""Static files of the admin, the documentation and the chat page."""

from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from rest_framework.request import Request
from whitenoise.middleware import WhiteNoiseMiddleware

from crud_service.api.api_view import ApiView
from web.problems import NotFound

# Modules of two versions would not fit together, so browsers ask each time; the answer is a 304.
REVALIDATED = "/static/demo/"


class StaticFiles(WhiteNoiseMiddleware):  # type: ignore[misc]  # it has no types
    """WhiteNoise for GET and HEAD; it would answer other methods without a problem document."""

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.method in {"GET", "HEAD"}:
            # Ranges are optional (RFC 9110), and no browser asks for a part of these files.
            request.META.pop("HTTP_RANGE", None)
            response: HttpResponseBase = super().__call__(request)
        else:
            response = self.get_response(request)
        return response

    def add_cache_headers(self, headers: Any, path: str, url: str) -> None:
        super().add_cache_headers(headers, path, url)
        if url.startswith(REVALIDATED):
            headers["Cache-Control"] = "no-cache"


class MissingFileView(ApiView):
    """`/static/{path}` if there is no such file, or for another method than GET and HEAD."""

    def get(self, request: Request, path: str) -> HttpResponseBase:
        raise NotFound
