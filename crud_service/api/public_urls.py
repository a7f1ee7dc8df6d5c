"""Absolute URLs in answers, based on the address by which clients reach this service."""

import re

from django.conf import settings

_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?", re.ASCII)


def public_url(host: str, path: str) -> str:
    """Return the URL of a path, based on CRUD_PUBLIC_URL or else on the header Host.

    If `host`, that header, is malformed, return the path alone.
    """
    if settings.CRUD_PUBLIC_URL:
        return f"{settings.CRUD_PUBLIC_URL}{path}"
    return f"http://{host}{path}" if _HOST.fullmatch(host) else path
