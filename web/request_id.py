"""Request ids: taken over from `X-Request-ID` when they are harmless, made otherwise."""

import re
import secrets
from itertools import count

HEADER = "X-Request-ID"
# Unique to this process, then counted: asking the system for fresh randomness
# took a tenth of a creation's time, and an id is no secret.
_PREFIX = secrets.token_hex(6)
_NUMBERS = count(1)
_HARMLESS = re.compile(r"[A-Za-z0-9._:-]{1,128}", re.ASCII)


def request_id(header: str | None) -> str:
    """The id a request goes by: the caller's own where it is harmless, or a fresh one."""
    if header is not None and _HARMLESS.fullmatch(header):
        return header
    return f"{_PREFIX}{next(_NUMBERS):06x}"
