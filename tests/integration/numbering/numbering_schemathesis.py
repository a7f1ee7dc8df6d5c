"""What schemathesis cannot know.

A key that comes again with another payload is refused, a reply to a number that was not assigned
before, and U+0000 anywhere in metadata.
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
        case.body = {**body, "messages": [acceptable(message) for message in body["messages"]]}
    else:
        case.body = acceptable(body)


def acceptable(message: Any) -> Any:
    """Return a message without a valid reply and without U+0000 in valid metadata.

    What is not valid stays as it is.
    """
    if not isinstance(message, dict):
        return message
    kept = {
        name: value for name, value in message.items() if name != "reply_to" or not is_number(value)
    }
    if isinstance(message.get("metadata"), dict):
        kept["metadata"] = without_nul(message["metadata"])
    return kept


def without_nul(value: Any) -> Any:
    if isinstance(value, dict):
        return {without_nul(name): without_nul(each) for name, each in value.items()}
    if isinstance(value, list):
        return [without_nul(each) for each in value]
    return value.replace("\0", "") if isinstance(value, str) else value


def is_number(value: Any) -> bool:
    # For JSON Schema 5.0 is an integer.
    return type(value) in (int, float) and value > 0 and value == int(value)
