"""Files of the admin and of the documentation, served from where they are installed."""

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
            # "Insecure" is meant for whoever runs without DEBUG and with large files;
            # the finders look in the folders of settings and of the apps alone.
            response = serve(request, path, insecure=True)
        except (Http404, SuspiciousFileOperation) as error:
            raise NotFound from error
        response.headers["Cache-Control"] = "public, max-age=3600"
        return response
