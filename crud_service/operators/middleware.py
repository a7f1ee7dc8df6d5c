"""Middleware for requests to the operators' site."""

from collections.abc import Awaitable, Callable

from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.db import DataError, InterfaceError, InternalError, OperationalError, connections
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.middleware.csrf import CsrfViewMiddleware
from django.utils.deprecation import MiddlewareMixin

from crud_service.api.responses import problem_response
from crud_service.server.logins import SITE
from crud_service.stores.database import log_failure
from web.problems import MalformedRequest, Problem, StoreUnavailable

POLICY = "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'"

GetResponse = Callable[[HttpRequest], HttpResponseBase]


class OperatorsOnly:
    """Content security policy, connections and problem documents of the operators' site."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not request.path_info.startswith(SITE):
            return self.get_response(request)
        try:
            response = self.get_response(request)
        finally:
            connections.close_all()  # admin requests are rare and on many threads: keep none
        response.headers["Content-Security-Policy"] = POLICY
        return response

    def process_exception(
        self, request: HttpRequest, exception: Exception
    ) -> HttpResponseBase | None:
        """Called by Django for an exception from a view; convert problems and store failures."""
        # InternalError: for example, a write to a primary that has become a standby.
        if isinstance(exception, (OperationalError, InterfaceError, InternalError)):
            log_failure(exception)
            exception = StoreUnavailable()
        # What PostgreSQL cannot compare with anything, such as a session's key with U+0000.
        elif isinstance(exception, DataError):
            exception = MalformedRequest()
        return problem_response(exception, request) if isinstance(exception, Problem) else None


class SiteOnly(MiddlewareMixin):
    """A middleware that only requests to the operators' site pass through.

    The API has neither sessions nor users, and would spend a tenth of an edit's instructions in
    Django on getting them ready.
    """

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if request.path_info.startswith(SITE):
            return super().__call__(request)
        return self.get_response(request)


class Sessions(SiteOnly, SessionMiddleware):
    pass


class CsrfTokens(SiteOnly, CsrfViewMiddleware):
    pass


class Users(SiteOnly, AuthenticationMiddleware):
    pass


class Messages(SiteOnly, MessageMiddleware):
    pass
