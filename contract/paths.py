"""What the parts of a path may look like; anything else is 404 before a store is asked."""

import re

TOKEN_PATTERN = "[A-Za-z0-9]{24}"  # noqa: S105 - the shape of a token, not one
NUMBER_PATTERN = "[1-9][0-9]{0,18}"
MAX_NUMBER = 2**63 - 1


def parse_number(text: str) -> int | None:
    """A number of a path, 1 to 2^63-1 in plain ASCII digits, else None."""
    if re.fullmatch(NUMBER_PATTERN, text, re.ASCII) is None:
        return None
    number = int(text)
    return number if number <= MAX_NUMBER else None


def mask_token(access_token: str) -> str:
    """An access token as logs may show it."""
    return access_token[:4] + "…"


def mask_path(path: str) -> str:
    """A path with every access token in it masked, and whatever one may be a part of.

    A slash that somebody forgot must not bring a token into the log.
    """
    return re.sub("[A-Za-z0-9]{24,}", lambda match: mask_token(match[0]), path)
