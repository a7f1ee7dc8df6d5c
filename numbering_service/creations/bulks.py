"""Several messages in one request: each is valid as a single one would be, or none is created."""

import gc
from codecs import BOM_UTF8
from collections.abc import Generator
from time import perf_counter
from typing import Any, TypeVar

import msgspec
import orjson

from numbering_service.creation import Bulk, Creation
from numbering_service.creations.attributes import MessageFields, check_message
from numbering_service.creations.requests import Target, read_head
from web.fields import MAX_REQUEST_BYTES, MISSING, nested_too_deeply, parse_body
from web.metadata import (
    METADATA,
    has_changed_numbers,
    may_have_minus_zero,
    metadata_of_each,
    parse_digits,
)
from web.problems import ValidationFailed
from web.server.request import Request

MESSAGES = "messages"
MAX_MESSAGES = 500
# In one answer; the first ones are enough to find the mistake.
MAX_ERRORS = 20
# A message is checked in a fraction of it; parsing a body, in one step, takes up to 20 ms.
STEP_SECONDS = 0.003


class _Sent(msgspec.Struct):
    messages: msgspec.Raw


_SENT = msgspec.json.Decoder(_Sent)

T = TypeVar("T")
Steps = Generator[None, None, T]


def read_bulk(target: Target, request: Request, request_id: str) -> Steps[Bulk]:
    """Read the creation of the messages in a request; raises 400, 413, 415 or 422.

    It is read in steps of some milliseconds, between which the event loop can do other work.

    Args:
        target: the chat that its path names.
        request: a whole request.
        request_id: its id, which the entries carry.
    """
    body = request.body  # dropped from the request if the client disconnects meanwhile
    head = read_head(request.headers, body)
    fields = parse_body(head.content_type, body, _parse, MAX_REQUEST_BYTES)
    yield
    messages = yield from _check_messages(fields.get(MESSAGES, MISSING), body)
    creations = tuple(
        Creation(
            target.access_token,
            target.chat_number,
            message.body,
            request_id,
            attributes=message.attributes,
            reply_to=message.reply_to,
        )
        for message in messages
    )
    return Bulk(creations, head.idempotency_key)


def _check_messages(value: object, body: bytes) -> Steps[list[MessageFields]]:
    """Return the fields of the messages; raises 422, which names each field that is not valid."""
    if value is MISSING:
        raise ValidationFailed(MESSAGES, "Is required.")
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_MESSAGES:
        raise ValidationFailed(MESSAGES, f"Must be an array of 1 to {MAX_MESSAGES} messages.")
    yield from _take_exact_numbers(value, body)
    messages: list[MessageFields] = []
    errors: list[tuple[str, str]] = []
    ends_at = perf_counter() + STEP_SECONDS
    for position, message in enumerate(value):
        name = f"{MESSAGES}[{position}]"
        if not isinstance(message, dict):
            errors.append((name, "Must be an object."))
            continue
        try:
            messages.append(check_message(message))
        except ValidationFailed as problem:
            errors += [(f"{name}.{error['field']}", error["message"]) for error in problem.errors]
        if perf_counter() > ends_at:
            yield
            ends_at = perf_counter() + STEP_SECONDS
    if errors:
        raise ValidationFailed(*errors[0], *errors[1:MAX_ERRORS])
    return messages


def _take_exact_numbers(messages: list[Any], body: bytes) -> Steps[None]:
    """Replace metadata by the same with the digits that were sent, where it needs that.

    Unless a message is no object: the bulk will be refused.
    """
    if not all(isinstance(message, dict) for message in messages):
        return
    minus_zero = may_have_minus_zero(body)
    sent: list[msgspec.Raw] = []
    ends_at = perf_counter() + STEP_SECONDS
    for position, message in enumerate(messages):
        metadata = message.get(METADATA)
        if isinstance(metadata, dict) and has_changed_numbers(metadata, minus_zero):
            try:
                sent = sent or _metadata_as_sent(body)
                message[METADATA] = parse_digits(sent[position])
            except RecursionError as error:  # the first parser allows deeper nesting
                raise nested_too_deeply() from error
        if perf_counter() > ends_at:
            yield
            ends_at = perf_counter() + STEP_SECONDS


def _metadata_as_sent(body: bytes) -> list[msgspec.Raw]:
    return metadata_of_each(_SENT.decode(body.removeprefix(BOM_UTF8)).messages)


def _parse(body: bytes) -> Any:
    """Parse JSON without looking for garbage: a body of empty arrays would cause hundreds of
    collections, which take longer than all the rest, and there is no garbage in it."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return orjson.loads(body)
    finally:
        if was_enabled:
            gc.enable()


def bulk_created(first: int, count: int) -> tuple[str, str]:
    """Return the JSON members with the numbers of new messages, and the query that lists these."""
    numbers = f'"first_number":{first},"last_number":{first + count - 1}'
    return numbers, f"?after={first - 1}&limit={count}"
