"""Bearer tokens: ADMIN_TOKEN to list and create applications, INTERNAL_TOKEN to seed numbers."""

from typing import ClassVar

from django.conf import settings
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.views import APIView

from crud_service.bearer import bears
from web.problems import NotFound


class TokenHolder:
    """A client that sent the token of a setting."""

    is_authenticated = True


class BearerToken(BaseAuthentication):
    """Authenticates by `Authorization: Bearer`, with the token in a setting."""

    setting: ClassVar[str]

    def authenticate(self, request: Request) -> tuple[TokenHolder, None] | None:
        """Return the holder of the token; None if it was not sent, or is not set."""
        token: str = getattr(settings, self.setting)
        return (TokenHolder(), None) if bears(request.META, token) else None

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class AdminToken(BearerToken):
    setting = "ADMIN_TOKEN"


class InternalToken(BearerToken):
    setting = "INTERNAL_TOKEN"


class AdminOrOpen(IsAuthenticated):
    """Demands authentication if an ADMIN_TOKEN is set; without one, allows everybody.

    Methods that the path does not support need no token: they are answered 405.
    """

    def has_permission(self, request: Request, view: APIView) -> bool:
        if not settings.ADMIN_TOKEN or request.method not in view.allowed_methods:
            return True
        return super().has_permission(request, view)


class AdminToDelete(AdminOrOpen):
    """Demands the same for DELETE alone."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        return request.method != "DELETE" or super().has_permission(request, view)


class InternalOnly(IsAuthenticated):
    """Demands authentication; raises NotFound if no INTERNAL_TOKEN is set."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        if not settings.INTERNAL_TOKEN:
            raise NotFound
        return super().has_permission(request, view)
