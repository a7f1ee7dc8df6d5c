"""Swagger UI, which both services serve at `/docs`: what its page may load, and says of errors."""

from web.problems import (
    BodyTooLarge,
    HeadersTooLarge,
    InternalError,
    MalformedRequest,
    MethodNotAllowed,
    Overloaded,
    Problem,
    RequestTimeout,
)

# It uses inline styles and icons in data: URLs.
POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)

# The problems of any request, whatever its operation; most of them are found before its path is.
COMMON_PROBLEMS: tuple[type[Problem], ...] = (
    MalformedRequest,
    MethodNotAllowed,
    RequestTimeout,
    BodyTooLarge,
    HeadersTooLarge,
    InternalError,
    Overloaded,
)
COMMON_ERRORS = (
    "\n\nBesides the responses that an operation lists, any request may be answered "
    + ", ".join(f"{kind.status} `{kind.code}`" for kind in COMMON_PROBLEMS)
    + "."
)
