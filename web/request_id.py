"""Request ids: taken from `X-Request-ID` when harmless, generated otherwise."""

import re
from random import getrandbits

HEADER = "X-Request-ID"
_HARMLESS = re.compile(r"[A-Za-z0-9._:-]{1,128}", re.ASCII)


def request_id(header: str | None) -> str:
    """Return the client's own request id if it is harmless, else a new one.

    New ones are random, so that none tells how many requests others send. They are no secrets:
    asking the system for randomness took a tenth of a creation's time.
    """
    if header is not None and _HARMLESS.fullmatch(header):
        return header
    return getrandbits(72).to_bytes(9, "big").hex()
