"""Static files of the admin and the documentation, served from the installed packages."""

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from rest_framework.request import Request
from whitenoise.middleware import WhiteNoiseMiddleware

from crud_service.api.api_view import ApiView
from web.problems import NotFound


class StaticFiles(WhiteNoiseMiddleware):  # type: ignore[misc]  # it has no types
    """WhiteNoise for GET and HEAD; it would answer other methods without a problem document."""

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.method in {"GET", "HEAD"}:
            response: HttpResponseBase = super().__call__(request)
        else:
            response = self.get_response(request)
        return response


class MissingFileView(ApiView):
    """`/static/{path}` if there is no such file, or for another method than GET and HEAD."""

    def get(self, request: Request, path: str) -> HttpResponseBase:
        raise NotFound
