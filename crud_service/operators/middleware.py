"""Django's middleware for sessions, authentication and CSRF, applied only to the admin."""

from collections.abc import Callable
from typing import Any, cast

from django.core.handlers.exception import convert_exception_to_response
from django.db import InterfaceError, InternalError, OperationalError, connections
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.module_loading import import_string

from crud_service.api.responses import problem_response
from web.problems import Problem, StoreUnavailable

MIDDLEWARE = (
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
)
POLICY = "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'"

GetResponse = Callable[[HttpRequest], HttpResponseBase]


class AdminOnly:
    """Run admin requests through MIDDLEWARE; pass all others straight on."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        self.chain = get_response
        self.process_views: list[Callable[..., Any]] = []
        for name in reversed(MIDDLEWARE):
            middleware = import_string(name)(self.chain)
            if hasattr(middleware, "process_view"):
                self.process_views.insert(0, middleware.process_view)
            self.chain = cast(GetResponse, convert_exception_to_response(middleware))

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not is_admin(request):
            return self.get_response(request)
        try:
            response = self.chain(request)
        finally:
            connections.close_all()  # admin requests are rare and on many threads: keep none
        response.headers["Content-Security-Policy"] = POLICY
        return response

    def process_view(self, request: HttpRequest, *view: Any) -> HttpResponseBase | None:
        """Called by Django once the view is known; the CSRF check happens here."""
        if is_admin(request):
            for process_view in self.process_views:
                response: HttpResponseBase | None = process_view(request, *view)
                if response is not None:
                    return response
        return None

    def process_exception(
        self, request: HttpRequest, exception: Exception
    ) -> HttpResponseBase | None:
        """Called by Django for an exception from a view; convert problems and store failures."""
        # InternalError: for example, a write to a primary that has become a standby.
        if isinstance(exception, (OperationalError, InterfaceError, InternalError)):
            exception = StoreUnavailable()
        return problem_response(exception, request) if isinstance(exception, Problem) else None


def is_admin(request: HttpRequest) -> bool:
    """Return whether a request is for the admin."""
    return request.path_info.startswith("/admin")
