"""Recognizes the sender of a WSGI request by its `Authorization: Bearer`."""

import secrets
from collections.abc import Mapping
from typing import Any


def bears(environ: Mapping[str, Any], token: str) -> bool:
    """Return whether a request bears the token, comparing in constant time.

    None bears an empty one, which stands for a token that is not set.
    """
    scheme, _, sent = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    # WSGI has the bytes of a header as Latin-1.
    matches = secrets.compare_digest(sent.strip().encode("latin-1"), token.encode())
    return bool(token) and matches and scheme.lower() == "bearer"
