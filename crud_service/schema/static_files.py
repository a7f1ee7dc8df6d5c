"""Static files of the admin and the documentation, served from the installed packages."""

from django.contrib.staticfiles.views import serve
from django.core.exceptions import SuspiciousFileOperation
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase

from crud_service.api.api_view import ApiView
from web.problems import NotFound


class StaticView(ApiView):
    """`/static/{path}`"""

    def get(self, request: HttpRequest, path: str) -> HttpResponseBase:
        try:
            # "Insecure" warns about serving without DEBUG, and about large files; the finders
            # only look in STATICFILES_DIRS and in the apps' folders.
            response = serve(request, path, insecure=True)
        except (Http404, SuspiciousFileOperation) as error:
            raise NotFound from error
        response.headers["Cache-Control"] = "public, max-age=3600"
        return response
