"""Several messages in one request: each is valid as a single one would be, or none is created."""

from collections.abc import Generator
from time import perf_counter
from typing import Any, TypeVar

import msgspec
import orjson

from numbering_service.creation import Bulk, Creation
from numbering_service.creations.attributes import MessageFields, check_message
from numbering_service.creations.requests import Target, read_head
from web.fields import (
    MAX_REQUEST_BYTES,
    MISSING,
    nested_too_deeply,
    parse_body,
    parse_value,
    with_exact_numbers,
)
from web.problems import MalformedBody, ValidationFailed
from web.server.request import Request

MESSAGES = "messages"
MAX_MESSAGES = 500
# In one answer; the first ones are enough to find the mistake.
MAX_ERRORS = 20
# A message is read in a fraction of it, unless it is large.
STEP_SECONDS = 0.003
# More places where the messages may be in a body than any client has a reason for.
MAX_COPIES = 64


class _Sent(msgspec.Struct):
    """What is sent: everything but the messages is skipped, and these are left as they are."""

    messages: msgspec.Raw


# Each message as it was sent, and empty ones behind the last. A list of them would take as long as
# a parser does if there are a hundred thousand; those beyond these are skipped.
_SentMessages = msgspec.defstruct(
    "_SentMessages",
    [(f"m{number}", msgspec.Raw, msgspec.Raw()) for number in range(MAX_MESSAGES + 1)],
    array_like=True,
)
_SENT = msgspec.json.Decoder(_Sent)
_SENT_MESSAGES = msgspec.json.Decoder(_SentMessages)

T = TypeVar("T")
Steps = Generator[None, None, T]


def read_bulk(target: Target, request: Request) -> Steps[Bulk]:
    """Read the creation of the messages in a request; raises 400, 413, 415 or 422.

    It is read in steps of some milliseconds, between which the event loop can do other work.

    Args:
        target: the chat that its path names.
        request: a whole request.
    """
    body = request.body  # dropped from the request if the client disconnects meanwhile
    head = read_head(request.headers, body)
    fields = parse_body(head.content_type, body, _parse_surroundings, MAX_REQUEST_BYTES)
    yield
    messages = yield from _read_messages(fields.get(MESSAGES, MISSING))
    creations = tuple(
        Creation(
            target.access_token,
            target.chat_number,
            message.body,
            request.id,
            attributes=message.attributes,
            reply_to=message.reply_to,
        )
        for message in messages
    )
    return Bulk(creations, head.idempotency_key)


def _parse_surroundings(body: bytes) -> Any:
    """Parse JSON but for an array of messages, which is left as it was sent.

    It has no more than one step's marks outside of that array. Whatever is wrong with it is found
    here or when each of the messages is parsed, as if all of it were parsed at once.
    """
    sent = _messages_as_sent(body)
    if not sent.startswith(b"["):
        return parse_value(body, orjson.loads)
    # If there are copies of the array, all of them are as valid as the one that counts.
    surroundings = body.replace(sent, b"[]", MAX_COPIES)
    value = parse_value(surroundings, orjson.loads)
    if value[MESSAGES]:
        raise MalformedBody(f"The body has more than {MAX_COPIES} copies of its messages.")
    return {**value, MESSAGES: msgspec.Raw(sent)}


def _messages_as_sent(body: bytes) -> bytes:
    """Return the value of the messages in JSON; empty if there is none, or the JSON is invalid."""
    try:
        return bytes(_SENT.decode(body).messages)
    except (msgspec.DecodeError, RecursionError):
        return b""


def _read_messages(value: object) -> Steps[list[MessageFields]]:
    """Return the fields of the messages; raises 400, or 422, which names each invalid field."""
    if value is MISSING:
        raise ValidationFailed(MESSAGES, "Is required.")
    if isinstance(value, list):  # deeper than one parser goes, and not too deep for the other
        raise nested_too_deeply()
    sent = _split(value) if isinstance(value, msgspec.Raw) else []
    if not 1 <= len(sent) <= MAX_MESSAGES:
        raise ValidationFailed(MESSAGES, f"Must be an array of 1 to {MAX_MESSAGES} messages.")
    yield
    messages: list[MessageFields] = []
    errors: list[tuple[str, str]] = []
    ends_at = perf_counter() + STEP_SECONDS
    for position, text in enumerate(sent):
        name = f"{MESSAGES}[{position}]"
        message = parse_value(text, orjson.loads)
        if not isinstance(message, dict):
            errors.append((name, "Must be an object."))
            continue
        try:
            messages.append(check_message(with_exact_numbers(message, text)))
        except ValidationFailed as problem:
            errors += [(f"{name}.{error['field']}", error["message"]) for error in problem.errors]
        if perf_counter() > ends_at:
            yield
            ends_at = perf_counter() + STEP_SECONDS
    if errors:
        raise ValidationFailed(*errors[0], *errors[1:MAX_ERRORS])
    return messages


def _split(array: msgspec.Raw) -> list[bytes]:
    """Return the items of an array as they were sent, at most one more than a bulk may have."""
    items = msgspec.structs.astuple(_SENT_MESSAGES.decode(array))
    return [bytes(item) for item in items if item]


def bulk_created(first: int, count: int) -> tuple[str, str]:
    """Return the JSON members with the numbers of new messages, and the query that lists these."""
    numbers = f'"first_number":{first},"last_number":{first + count - 1}'
    return numbers, f"?after={first - 1}&limit={count}"
