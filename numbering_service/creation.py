"""The creation of one chat or one message, and its result."""

from hashlib import blake2b
from typing import NamedTuple

from contract import keys
from numbering_service.rate_limits import Limit


class Creation(NamedTuple):
    """One request to create, fully validated: none of its fields can be refused any more.

    `chat_number` is None for the creation of a chat. `idempotency_key` is the
    client's own, or empty.
    """

    access_token: str
    chat_number: int | None
    body: str
    request_id: str
    idempotency_key: str = ""

    @property
    def body_size(self) -> int:
        return len(self.body) if self.body.isascii() else len(self.body.encode())

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
        digest = payload_digest(self.body) if self.idempotency_key else ""
        return self.access_token, str(self.chat_number), self.body, self.request_id, digest


class Created(NamedTuple):
    """The number handed out; `replayed` when an earlier request already received it.

    `limit` is the state of the application's rate limit, None if it has none or was not asked.
    """

    number: int
    replayed: bool = False
    limit: Limit | None = None


def payload_digest(body: str) -> str:
    return blake2b(body.encode(), digest_size=16).hexdigest()
