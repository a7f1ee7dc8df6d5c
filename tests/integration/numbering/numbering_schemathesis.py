"""What schemathesis cannot know.

A key that comes again with another payload is refused, and a reply to a number that was not
assigned before.
"""

from itertools import count
from typing import Any

import schemathesis

NUMBERS = count(1)


@schemathesis.hook
def before_call(_context: Any, case: Any, _kwargs: Any) -> None:
    """Make every valid key another one; those that are not valid stay as they are."""
    key = (case.headers or {}).get("Idempotency-Key")
    if isinstance(key, str) and 0 < len(key) <= 255 and key.isascii() and key.isprintable():
        case.headers["Idempotency-Key"] = f"key {next(NUMBERS)}"
    body = case.body
    if isinstance(body, dict) and type(body.get("reply_to")) is int and body["reply_to"] > 0:
        case.body = {name: value for name, value in body.items() if name != "reply_to"}
