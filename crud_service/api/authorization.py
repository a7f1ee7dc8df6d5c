"""Bearer tokens: who may list and create applications, who may seed numbers."""

import secrets

from django.conf import settings
from django.http import HttpRequest

from web.problems import NotFound, Unauthorized


def require_admin_token(request: HttpRequest) -> None:
    """Raises Unauthorized without ADMIN_TOKEN, where one is set."""
    if settings.ADMIN_TOKEN and not bears(request, settings.ADMIN_TOKEN):
        raise Unauthorized


def require_internal_token(request: HttpRequest) -> None:
    """Raises Unauthorized without INTERNAL_TOKEN; without one set nobody gets in."""
    if not settings.INTERNAL_TOKEN:
        raise NotFound
    if not bears(request, settings.INTERNAL_TOKEN):
        raise Unauthorized


def bears(request: HttpRequest, token: str) -> bool:
    """Whether a request brings a bearer token, compared in constant time."""
    scheme, _, given = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    matches = secrets.compare_digest(given.strip().encode(), token.encode())
    return matches and scheme.lower() == "bearer"
