"""The creation of a chat, of a message, or of several messages at once, and its result."""

from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from typing import NamedTuple

from contract import keys
from numbering_service.rate_limits import Limit
from web.problems import NotFound, Problem


@dataclass(init=False, slots=True)
class Creation:
    """One request to create, fully validated: none of its fields can be refused any more.

    Nobody changes it; it is not frozen because that would make each one slower to construct.

    `chat_number` is None for the creation of a chat. `idempotency_key` is the
    client's own, or empty. `attributes` are the optional fields as JSON, empty if there are
    none; `reply_to` is one of them, 0 if it is not set. `body_size` is the bytes of what the client
    sent to be stored.
    """

    access_token: str
    chat_number: int | None
    body: str
    request_id: str
    idempotency_key: str
    attributes: str
    reply_to: int
    body_size: int = field(init=False)

    def __init__(
        self,
        access_token: str,
        chat_number: int | None,
        body: str,
        request_id: str,
        idempotency_key: str = "",
        attributes: str = "",
        reply_to: int = 0,
    ) -> None:
        self.access_token = access_token
        self.chat_number = chat_number
        self.body = body
        self.request_id = request_id
        self.idempotency_key = idempotency_key
        self.attributes = attributes
        self.reply_to = reply_to
        self.body_size = len(body.encode()) + (len(attributes.encode()) if attributes else 0)

    @property
    def first(self) -> "Creation":
        return self

    @property
    def numbers(self) -> int:
        """How many numbers it takes."""
        return 1

    @property
    def sequence_key(self) -> str:
        """The key of its sequence, without the tag of its shard."""
        if self.chat_number is None:
            return keys.chat_sequence(self.access_token)
        return keys.message_sequence(self.access_token, self.chat_number)

    def script_keys(self, tag: str = "") -> tuple[str, str]:
        """Return the keys of its sequence and of its answer, '' without an idempotency key.

        `tag` is that of the application's shard.
        """
        return self.keys_with(self.idempotency_key, tag)

    def keys_with(self, idempotency_key: str, tag: str) -> tuple[str, str]:
        """Return the script's keys with another idempotency key: that of a bulk."""
        if not idempotency_key:
            return tag + self.sequence_key, ""
        return tag + self.sequence_key, tag + keys.idempotency(
            self.access_token, self.chat_number, idempotency_key
        )

    def script_arguments(self, tag: str = "") -> tuple[str, ...]:
        """Return what numbers.lua takes of it besides its keys."""
        if self.chat_number is None:
            prefix = tag + keys.message_sequences(self.access_token)
            return self.access_token, "", "", self.request_id, prefix
        digest = payload_digest(self.body, self.attributes) if self.idempotency_key else ""
        return self.access_token, str(self.chat_number), self.body, self.request_id, digest

    def script_attributes(self, position: int) -> tuple[int | str, ...]:
        """Return what the script takes of a creation with attributes, the n-th of its batch."""
        return position, self.attributes, str(self.reply_to) if self.reply_to else ""


@dataclass(frozen=True)
class Bulk:
    """The creation of several messages of a chat: all of them or none, numbered consecutively.

    The messages have the same chat and request id, and no idempotency keys of their own.
    """

    messages: tuple[Creation, ...]
    idempotency_key: str = ""

    @property
    def first(self) -> Creation:
        return self.messages[0]

    @property
    def numbers(self) -> int:
        """How many numbers it takes."""
        return len(self.messages)

    @property
    def access_token(self) -> str:
        return self.first.access_token

    @property
    def chat_number(self) -> int | None:
        return self.first.chat_number

    @property
    def request_id(self) -> str:
        return self.first.request_id

    @property
    def sequence_key(self) -> str:
        return self.first.sequence_key

    @cached_property
    def body_size(self) -> int:
        """The sum of all; asked again and again while a bulk is held back."""
        return sum(message.body_size for message in self.messages)

    @property
    def attributes(self) -> bool:
        """Whether any of the messages has some."""
        return any(message.attributes for message in self.messages)

    def script_attributes(self, position: int) -> tuple[int | str, ...]:
        """Return what the script takes of each message with attributes."""
        words: list[int | str] = []
        for place, message in enumerate(self.messages, position):
            if message.attributes:
                words += message.script_attributes(place)
        return tuple(words)

    def script_keys(self, tag: str = "") -> tuple[str, str]:
        """Return the keys of its sequence and of its answer, '' without an idempotency key."""
        return self.first.keys_with(self.idempotency_key, tag)

    def script_arguments(self, tag: str = "") -> tuple[int | str, ...]:
        """Return those of the first message; the others have no keys, which ties them to it."""
        first, *others = self.messages
        digest = self.payload_digest() if self.idempotency_key else ""
        arguments: list[int | str] = [*first.script_arguments()[:-1], digest]
        for message in others:
            arguments += (0, 0, "", "", message.body, "", "")
        return tuple(arguments)

    def payload_digest(self) -> str:
        """Return a digest that no single message has, not even that of a bulk of one."""
        payload = blake2b(b"bulk", digest_size=16)
        for message in self.messages:
            payload.update(payload_digest(message.body, message.attributes).encode())
        return payload.hexdigest()


AnyCreation = Creation | Bulk


@dataclass(init=False, slots=True)
class Created:
    """The number handed out, of a bulk the first; `replayed` when it was handed out before.

    `limit` is the state of the application's rate limit, None if it has none or was not asked.
    """

    number: int
    replayed: bool
    limit: Limit | None

    def __init__(self, number: int, replayed: bool = False, limit: Limit | None = None) -> None:
        self.number = number
        self.replayed = replayed
        self.limit = limit


class BadReply(NamedTuple):
    """A message replies to a number that was not handed out before it: which one of a bulk, from 0.

    The script can't tell a bulk of one from a single message: the request names the field.
    """

    position: int


Answer = Created | Problem | BadReply | None
"""The outcome of a creation; None when its sequence is missing and must be seeded."""


def payload_digest(body: str, attributes: str = "") -> str:
    # A body holds no U+0000, so no other message has the same payload.
    payload = f"{body}\0{attributes}" if attributes else body
    return blake2b(payload.encode(), digest_size=16).hexdigest()


def no_parent() -> NotFound:
    """Return the answer to a creation in an application or a chat that does not exist."""
    return NotFound("There is no such application or chat.")
