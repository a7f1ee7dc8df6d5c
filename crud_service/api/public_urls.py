"""Absolute URLs in answers, based on the address by which clients reach this service."""

import re
from collections.abc import Mapping
from typing import Any

from django.conf import settings

_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?", re.ASCII)


def public_url(environ: Mapping[str, Any], path: str) -> str:
    """Return the URL of a path, based on CRUD_PUBLIC_URL or else on the Host header.

    If the Host header is malformed, return the path alone.
    """
    if settings.CRUD_PUBLIC_URL:
        return f"{settings.CRUD_PUBLIC_URL}{path}"
    host = environ.get("HTTP_HOST", "")
    return f"{environ['wsgi.url_scheme']}://{host}{path}" if _HOST.fullmatch(host) else path
