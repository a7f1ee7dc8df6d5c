"""The fields of what is created: the body of a message, and the optional ones of both kinds.

Optional fields become attributes, a JSON object that travels with the creation as one text.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from orjson import loads

from contract.paths import parse_number
from web.fields import (
    MISSING,
    Fields,
    check_message_body,
    check_name,
    check_reply_to,
    check_sender,
    is_json,
    parse_body,
    parse_optional_body,
    parse_urlencoded,
)
from web.media_types import media_type_of
from web.metadata import METADATA, check_metadata
from web.problems import ValidationFailed

BODY: Final = "body"
SENDER: Final = "sender"
REPLY_TO: Final = "reply_to"
NAME: Final = "name"
# A query without any of these is not parsed if the request's body has what is required. Letters of
# a name may be escaped, and a name without a value has an empty one.
_OPTIONAL_IN_QUERY = re.compile(
    rb"(?:^|&)(?:sender|metadata|reply_to|name|[a-z_]*%[^&=]*)(?:[=&]|$)"
)

Checks = Mapping[str, Callable[[object], object]]

_CHAT_CHECKS: Checks = {NAME: check_name, METADATA: check_metadata}
_MESSAGE_CHECKS: Checks = {
    BODY: check_message_body,
    SENDER: check_sender,
    METADATA: check_metadata,
    REPLY_TO: check_reply_to,
}


@dataclass(init=False, slots=True)
class MessageFields:
    """The valid fields of a message; `reply_to` is one of the attributes, 0 if it is not set."""

    body: str
    attributes: str
    reply_to: int

    def __init__(self, body: str, attributes: str = "", reply_to: int = 0) -> None:
        self.body = body
        self.attributes = attributes
        self.reply_to = reply_to


def message_fields(content_type: str | None, body: bytes, query: bytes) -> Fields:
    """Return the fields sent for a message; raises 400, 415 or 422.

    Args:
        content_type: the header; None without one.
        body: all of it.
        query: the query string, percent-encoded.
    """
    fields = parse_body(content_type, body, loads)
    if REPLY_TO in fields:
        fields = _with_number(fields, content_type, body)
    if query and (BODY not in fields or _OPTIONAL_IN_QUERY.search(query)):
        return {**_with_number(_in_query(query, fields, _MESSAGE_CHECKS)), **fields}
    return fields


def chat_fields(content_type: str | None, body: bytes, query: bytes) -> Fields:
    """Return the fields sent for a chat, all of which are optional; raises 400, 415 or 422.

    Args:
        content_type: the header; None without one.
        body: all of it.
        query: the query string, percent-encoded.
    """
    fields = parse_optional_body(content_type, body, loads)
    if query and _OPTIONAL_IN_QUERY.search(query):
        return {**_in_query(query, fields, _CHAT_CHECKS), **fields}
    return fields


def _in_query(query: bytes, fields: Fields, checks: Checks) -> Fields:
    """Return the fields that the query string has in addition to those of the body."""
    return parse_urlencoded(query, [name for name in checks if name not in fields])


def check_message(fields: Fields) -> MessageFields:
    """Return the fields of a message if they are valid; raises 422, which names each other one."""
    try:
        return _read_message(fields)
    except ValidationFailed:
        raise _every_error(fields, _MESSAGE_CHECKS, required=BODY) from None


def check_chat(fields: Fields) -> str:
    """Return the attributes of a chat if its fields are valid; raises 422 likewise."""
    try:
        return _read_chat(fields)
    except ValidationFailed:
        raise _every_error(fields, _CHAT_CHECKS) from None


def _every_error(fields: Fields, checks: Checks, required: str = "") -> ValidationFailed:
    """Return the problem of fields of which one at least is not valid."""
    errors = []
    for name, check in checks.items():
        if name in fields or name == required:
            try:
                check(fields.get(name, MISSING))
            except ValidationFailed as problem:
                errors += [(error["field"], error["message"]) for error in problem.errors]
    return ValidationFailed(*errors[0], *errors[1:])


def _read_message(fields: Fields) -> MessageFields:
    body = check_message_body(fields.get(BODY, MISSING))
    if len(fields) == 1:
        return MessageFields(body)
    members = []
    reply_to = 0
    if SENDER in fields:
        members.append(f'"{SENDER}":{_string(check_sender(fields[SENDER]))}')
    if METADATA in fields:
        members.append(f'"{METADATA}":{check_metadata(fields[METADATA])}')
    if REPLY_TO in fields:
        reply_to = check_reply_to(fields[REPLY_TO])
        members.append(f'"{REPLY_TO}":{reply_to}')
    return MessageFields(body, _object(members), reply_to) if members else MessageFields(body)


def _read_chat(fields: Fields) -> str:
    members = []
    if NAME in fields:
        members.append(f'"{NAME}":{_string(check_name(fields[NAME]))}')
    if METADATA in fields:
        members.append(f'"{METADATA}":{check_metadata(fields[METADATA])}')
    return _object(members) if members else ""


def _with_number(fields: Fields, content_type: str | None = "form", body: bytes = b"") -> Fields:
    """Parse the number that a form or a query string has as text; JSON has numbers."""
    text = fields.get(REPLY_TO)
    if not isinstance(text, str) or is_json(media_type_of(content_type or ""), body):
        return fields
    number = parse_number(text)
    return fields if number is None else {**fields, REPLY_TO: number}


def _object(members: list[str]) -> str:
    return f"{{{','.join(members)}}}"


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
