"""The syntax of the parts of a path; anything else is answered 404 before a store is queried."""

import re

TOKEN_PATTERN = "[A-Za-z0-9]{24}"  # noqa: S105 - the shape of a token, not one
NUMBER_PATTERN = "[1-9][0-9]{0,18}"
MAX_NUMBER = 2**63 - 1
_NUMBER = re.compile(NUMBER_PATTERN, re.ASCII)


def parse_number(text: str) -> int | None:
    """Parse a number in a path: 1 to 2^63-1 in plain ASCII digits, else None."""
    if _NUMBER.fullmatch(text) is None:
        return None
    number = int(text)
    return number if number <= MAX_NUMBER else None


def mask_token(access_token: str) -> str:
    """Shorten an access token so that it may appear in logs."""
    return access_token[:4] + "…"


_TO_MASK = re.compile(r"(/applications/[/\"']*)([^\s/?\"'<>(),\\]{5,})|([A-Za-z0-9]{24,})")


def mask_path(path: str) -> str:
    """Mask every access token in a path, and what stands in the place of one.

    A token must not reach the log because of a missing slash, or a character too few.
    """
    return _TO_MASK.sub(lambda match: (match[1] or "") + mask_token(match[2] or match[3]), path)
