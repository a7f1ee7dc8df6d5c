"""Bearer tokens: ADMIN_TOKEN to list and create applications, INTERNAL_TOKEN to seed numbers."""

import secrets

from django.conf import settings
from django.http import HttpRequest

from web.problems import NotFound, Unauthorized


def require_admin_token(request: HttpRequest) -> None:
    """Raise Unauthorized unless the request bears ADMIN_TOKEN; without one set, allow all."""
    if settings.ADMIN_TOKEN and not bears(request, settings.ADMIN_TOKEN):
        raise Unauthorized


def require_internal_token(request: HttpRequest) -> None:
    """Raise Unauthorized unless the request bears INTERNAL_TOKEN; without one set, NotFound."""
    if not settings.INTERNAL_TOKEN:
        raise NotFound
    if not bears(request, settings.INTERNAL_TOKEN):
        raise Unauthorized


def bears(request: HttpRequest, token: str) -> bool:
    """Return whether the request bears the token, comparing in constant time."""
    scheme, _, given = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    matches = secrets.compare_digest(given.strip().encode(), token.encode())
    return matches and scheme.lower() == "bearer"
