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
    if not isinstance(body, dict):
        return
    if isinstance(body.get("messages"), list):
        case.body = {**body, "messages": [without_reply(message) for message in body["messages"]]}
    elif is_number(body.get("reply_to")):
        case.body = without_reply(body)


def without_reply(message: Any) -> Any:
    """Return a message without a valid reply; one that is not valid stays as it is."""
    if not isinstance(message, dict) or not is_number(message.get("reply_to")):
        return message
    return {name: value for name, value in message.items() if name != "reply_to"}


def is_number(value: Any) -> bool:
    # For JSON Schema 5.0 is an integer.
    return type(value) in (int, float) and value > 0 and value == int(value)
