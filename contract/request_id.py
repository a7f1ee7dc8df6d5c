"""Request ids: taken over from `X-Request-ID` when they are harmless, made otherwise."""

import re
import secrets

HEADER = "X-Request-ID"
_HARMLESS = re.compile(r"[A-Za-z0-9._:-]{1,128}", re.ASCII)


def request_id(header: str | None) -> str:
    """The id a request goes by: the caller's own, or 16 fresh hexadecimal digits."""
    if header is not None and _HARMLESS.fullmatch(header):
        return header
    return secrets.token_hex(8)
