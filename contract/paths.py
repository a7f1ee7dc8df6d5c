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


# What stands before a token in a path, and in the keys that Redis quotes, cut short, in an error.
_BEFORE = r"(/applications/[/\"']*|(?:sequence:\w+|idempotency|limiter):)([^\s/?\"'<>(),\\]{5,})"
_TO_MASK = re.compile(rf"{_BEFORE}|([A-Za-z0-9]{{24,}})")
# Without words that are longer than a token, and without names of errors, which begin a reason.
_TO_MASK_IN_REASON = re.compile(
    rf"{_BEFORE}|(?<!^)(?<![A-Za-z0-9])({TOKEN_PATTERN})(?![A-Za-z0-9])", re.ASCII
)


def mask_path(path: str) -> str:
    """Mask every access token in a path, and what stands in the place of one.

    A token must not reach the log because of a missing slash, or a character too few.
    """
    return _TO_MASK.sub(_masked, path)


def mask_reason(reason: str) -> str:
    """Mask every access token in what a store says of an error."""
    return _TO_MASK_IN_REASON.sub(_masked, reason)


def _masked(match: re.Match[str]) -> str:
    return (match[1] or "") + mask_token(match[2] or match[3])
