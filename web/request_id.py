"""Request ids: taken from `X-Request-ID` when harmless, generated otherwise."""

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
    """Return the client's own request id if it is harmless, else a new one."""
    if header is not None and _HARMLESS.fullmatch(header):
        return header
    return _PREFIX + format(next(_NUMBERS), "06x")
