"""Reads a creation out of an ASGI request: strictly, in full, before any store is asked."""

import re
from collections.abc import Iterable
from typing import NamedTuple

import orjson

from contract.fields import MAX_REQUEST_BYTES, check_message_body, find_field, parse_optional_body
from contract.paths import MAX_NUMBER, NUMBER_PATTERN, TOKEN_PATTERN
from contract.problems import BodyTooLarge, UnsupportedMediaType, ValidationFailed
from contract.request_id import request_id
from numbering_service.creation import Creation

CREATION_PATH = re.compile(
    rf"/applications/({TOKEN_PATTERN})/chats(?:/({NUMBER_PATTERN})/messages)?/?", re.ASCII
)
_PRINTABLE = re.compile(rb"[\x20-\x7e]{1,255}")


class Target(NamedTuple):
    """The collection that a path names: an application's chats, or a chat's messages."""

    access_token: str
    chat_number: int | None


class Head(NamedTuple):
    """The headers that a creation looks at."""

    content_type: str | None
    content_length: int
    idempotency_key: str
    request_id: str


def read_target(path: str) -> Target | None:
    """The collection that a path names, None for any other path."""
    match = CREATION_PATH.fullmatch(path)
    if match is None:
        return None
    token, chat_number = match.groups()
    if chat_number is None:
        return Target(token, None)
    number = int(chat_number)
    return Target(token, number) if number <= MAX_NUMBER else None


def read_request_id(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The request id alone, for an answer to a request whose other headers may be bad."""
    for name, value in headers:
        if name == b"x-request-id":
            return request_id(value.decode("latin-1"))
    return request_id(None)


def read_head(headers: Iterable[tuple[bytes, bytes]], known_request_id: str) -> Head:
    """The headers that matter; raises 413, 415 or 422 for one that will not do."""
    content_type: str | None = None
    content_length = 0
    key: str | None = None
    for name, value in headers:
        if name == b"content-type":
            content_type = value.decode("latin-1")
        elif name == b"content-length":
            content_length = int(value.lstrip(b"0") or 0)  # int() takes few zeros
        elif name == b"idempotency-key":
            key = check_idempotency_key(value, first=key is None)
        elif name == b"content-encoding" and value.strip().lower() != b"identity":
            raise UnsupportedMediaType
    if content_length > MAX_REQUEST_BYTES:
        raise BodyTooLarge(headers={"Connection": "close"})
    return Head(content_type, content_length, key or "", known_request_id)


def check_idempotency_key(value: bytes, *, first: bool) -> str:
    """An idempotency key: one, of 1 to 255 printable ASCII characters; raises 422."""
    if not first or _PRINTABLE.fullmatch(value) is None:
        raise ValidationFailed(
            "Idempotency-Key", "Must be one header of 1 to 255 printable ASCII characters."
        )
    return value.decode("ascii")


def read_creation(target: Target, head: Head, query: bytes, body: bytes) -> Creation:
    """The creation that a request asks for; raises 400, 415 or 422."""
    if target.chat_number is None:
        # No field is needed for a chat, but a body that cannot be parsed is
        # refused here as everywhere.
        parse_optional_body(head.content_type, body, orjson.loads)
        text = ""
    else:
        text = check_message_body(
            find_field(
                "body", content_type=head.content_type, body=body, query=query, loads=orjson.loads
            )
        )
    return Creation(*target, text, head.request_id, head.idempotency_key)
