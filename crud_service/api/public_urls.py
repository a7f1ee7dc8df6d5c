"""Addresses in answers: absolute, on the address by which clients reach this service."""

import re
from collections.abc import Mapping
from typing import Any

from django.conf import settings

_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?", re.ASCII)


def public_url(environ: Mapping[str, Any], path: str) -> str:
    """A path's address: on CRUD_PUBLIC_URL, else on the host that the client asked for.

    A host that no URL can have is left out, and so is the rest before the path.
    """
    if settings.CRUD_PUBLIC_URL:
        return f"{settings.CRUD_PUBLIC_URL}{path}"
    host = environ.get("HTTP_HOST", "")
    return f"{environ['wsgi.url_scheme']}://{host}{path}" if _HOST.fullmatch(host) else path
