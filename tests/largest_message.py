"""Valid messages that are the most expensive to parse, so the first that a bound refuses."""

from typing import Any

from web.fields import MAX_BODY_BYTES, MAX_SENDER_CHARACTERS
from web.metadata import MAX_METADATA_BYTES

# All brackets: in strings, and as many as metadata has room for (`{"m":""}` surrounds them).
LARGEST_MESSAGE: dict[str, Any] = {
    "body": "[" * MAX_BODY_BYTES,
    "sender": "{" * MAX_SENDER_CHARACTERS,
    "metadata": {"m": "[" * (MAX_METADATA_BYTES - 8)},
}
# As escapes of a form.
LARGEST_FORM = {"body": "🤦" * (MAX_BODY_BYTES // 4), "sender": "🤦" * MAX_SENDER_CHARACTERS}
