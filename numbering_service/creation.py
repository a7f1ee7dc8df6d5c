"""The creation of one chat or one message, and its result."""

from hashlib import blake2b
from typing import NamedTuple

from contract import keys
from numbering_service.rate_limits import Limit


class Creation(NamedTuple):
    """One request to create, fully validated: none of its fields can be refused any more.

    `chat_number` is None for the creation of a chat. `idempotency_key` is the
    client's own, or empty. `attributes` are the optional fields as JSON, empty if there are
    none; `reply_to` is one of them, 0 if it is not set.
    """

    access_token: str
    chat_number: int | None
    body: str
    request_id: str
    idempotency_key: str = ""
    attributes: str = ""
    reply_to: int = 0

    @property
    def body_size(self) -> int:
        """The bytes of what the client sent to be stored."""
        size = len(self.body) if self.body.isascii() else len(self.body.encode())
        return size + len(self.attributes.encode()) if self.attributes else size

    @property
    def sequence_key(self) -> str:
        if self.chat_number is None:
            return keys.chat_sequence(self.access_token)
        return keys.message_sequence(self.access_token, self.chat_number)

    def script_keys(self) -> tuple[str, str]:
        if not self.idempotency_key:
            return self.sequence_key, ""
        return self.sequence_key, keys.idempotency(
            self.access_token, self.chat_number, self.idempotency_key
        )

    def script_arguments(self) -> tuple[str, str, str, str, str]:
        if self.chat_number is None:
            prefix = keys.message_sequences(self.access_token)
            return self.access_token, "", "", self.request_id, prefix
        digest = payload_digest(self.body, self.attributes) if self.idempotency_key else ""
        return self.access_token, str(self.chat_number), self.body, self.request_id, digest

    def script_attributes(self, position: int) -> tuple[int, str, str]:
        """Return what the script takes of a creation with attributes, the n-th of its batch."""
        return position, self.attributes, str(self.reply_to) if self.reply_to else ""


class Created(NamedTuple):
    """The number handed out; `replayed` when an earlier request already received it.

    `limit` is the state of the application's rate limit, None if it has none or was not asked.
    """

    number: int
    replayed: bool = False
    limit: Limit | None = None


def payload_digest(body: str, attributes: str = "") -> str:
    # A body holds no U+0000, so no other message has the same payload.
    payload = f"{body}\0{attributes}" if attributes else body
    return blake2b(payload.encode(), digest_size=16).hexdigest()
