"""Reads a creation from a whole request and fully validates it, before any store is queried."""

import json
import re
from functools import lru_cache
from typing import Final, NamedTuple

from contract.paths import MAX_NUMBER, NUMBER_PATTERN, TOKEN_PATTERN, mask_token
from numbering_service.creation import Creation
from numbering_service.creations.attributes import (
    chat_fields,
    check_chat,
    check_message,
    message_fields,
)
from web.fields import MAX_REQUEST_BYTES, check_idempotency_key
from web.media_types import is_encoded
from web.problems import BodyTooLarge, UnsupportedMediaType
from web.server.head import Headers
from web.server.request import Request

CREATION_PATH = re.compile(
    rf"/applications/({TOKEN_PATTERN})/chats(?:/({NUMBER_PATTERN})/messages(/bulk)?)?/?", re.ASCII
)
LONGEST_PATH: Final = len(f"/applications/{'x' * 24}/chats/{MAX_NUMBER}/messages/bulk/")
_CLOSE = {"Connection": "close"}


class Target(NamedTuple):
    """The collection that a path names: an application's chats, or a chat's messages.

    With `is_bulk` several messages are added to it. The texts that each of its answers needs are
    part of it: `route` is the path as the OpenAPI document names it, `masked_path` the one to
    log, and `parents` the JSON members that name what a new chat or message belongs to. Those that
    become part of JSON are ASCII: encoding a line of the log takes half the time then.
    """

    access_token: str
    chat_number: int | None
    is_bulk: bool
    route: str
    path: str
    masked_path: str
    parents: str


def target_of(access_token: str, chat_number: int | None, *, is_bulk: bool = False) -> Target:
    """Return the collection of an application's chats, or of a chat's messages."""
    # Tokens and numbers were matched by patterns: nothing needs escaping.
    parents = f'"access_token":"{access_token}"'
    route = path = "/chats"
    if chat_number is not None:
        parents = f'"chat_number":{chat_number},{parents}'
        route = "/chats/{chat_number}/messages"
        path = f"/chats/{chat_number}/messages"
    posted = "/bulk" if is_bulk else ""
    return Target(
        access_token,
        chat_number,
        is_bulk,
        route=f"/applications/{{access_token}}{route}{posted}",
        path=f"/applications/{access_token}{path}",
        masked_path=json.dumps(f"/applications/{mask_token(access_token)}{path}{posted}")[1:-1],
        parents=parents,
    )


class Head:
    """The headers that matter for a creation."""

    __slots__ = ("content_type", "idempotency_key")

    def __init__(self, content_type: str | None, idempotency_key: str) -> None:
        self.content_type = content_type
        self.idempotency_key = idempotency_key


def read_target(path: str) -> Target | None:
    """Return the collection that a path names, None for any other path."""
    return match_target(path) if len(path) <= LONGEST_PATH else None


@lru_cache(maxsize=4096)
def match_target(path: str) -> Target | None:
    """Match a path that is short enough to be cached: a busy chat's then costs a look-up."""
    match = CREATION_PATH.fullmatch(path)
    if match is None:
        return None
    token, chat_number, bulk = match.groups()
    if chat_number is None:
        return target_of(token, None)
    number = int(chat_number)
    return target_of(token, number, is_bulk=bulk is not None) if number <= MAX_NUMBER else None


def read_head(headers: Headers, body: bytes) -> Head:
    """Read the headers that matter; raises 413, 415 or 422 for an invalid one, or a long body."""
    content_type: str | None = None
    content_length = 0
    key: str | None = None
    for name, value in headers:
        if name == b"content-type":
            text = value.decode("latin-1")
            content_type = text if content_type is None else f"{content_type},{text}"
        elif name == b"content-length" and not body:  # one that is too long may not have been read
            content_length = int(value.lstrip(b"0") or 0)  # int() limits the digits
        elif name == b"idempotency-key":
            # Several are as invalid as an empty one.
            key = check_idempotency_key(value if key is None else b"")
        elif name == b"content-encoding" and body and is_encoded(value.decode("latin-1")):
            raise UnsupportedMediaType
    if content_length > MAX_REQUEST_BYTES or len(body) > MAX_REQUEST_BYTES:
        raise BodyTooLarge(headers=_CLOSE)
    return Head(content_type, key or "")


def read_creation(target: Target, request: Request) -> Creation:
    """Return the creation that a request asks for; raises 400, 413, 415 or 422.

    Args:
        target: the collection that its path names.
        request: a whole request.
    """
    body = request.body
    head = read_head(request.headers, body)
    if target.chat_number is None:
        attributes = check_chat(chat_fields(head.content_type, body, request.query))
        return Creation(target.access_token, None, "", request.id, head.idempotency_key, attributes)
    fields = check_message(message_fields(head.content_type, body, request.query))
    return Creation(
        target.access_token,
        target.chat_number,
        fields.body,
        request.id,
        head.idempotency_key,
        fields.attributes,
        fields.reply_to,
    )
