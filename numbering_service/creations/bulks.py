"""Several messages in one request: each is valid as a single one would be, or none is created."""

import gc
from codecs import BOM_UTF8
from collections.abc import Callable, Generator
from time import perf_counter
from typing import Any, TypeVar

import orjson

from numbering_service.creation import Bulk, Creation
from numbering_service.creations.attributes import MessageFields, check_message
from numbering_service.creations.requests import Target, read_head
from web.fields import MAX_REQUEST_BYTES, MISSING, parse_body, parse_digits_at
from web.metadata import METADATA, has_changed_numbers, may_have_minus_zero
from web.problems import ValidationFailed
from web.server.request import Request

MESSAGES = "messages"
MAX_MESSAGES = 500
# In one answer; the first ones are enough to find the mistake.
MAX_ERRORS = 20
# A message is checked in a fraction of it; parsing a body, in one step, takes up to 20 ms.
STEP_SECONDS = 0.003

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
    """Replace all metadata by the same with the digits that were sent, if any of it needs that."""
    minus_zero = may_have_minus_zero(body)
    ends_at = perf_counter() + STEP_SECONDS
    for message in messages:
        metadata = message.get(METADATA) if isinstance(message, dict) else None
        if isinstance(metadata, dict) and has_changed_numbers(metadata, minus_zero):
            break
        if perf_counter() > ends_at:
            yield
            ends_at = perf_counter() + STEP_SECONDS
    else:
        return
    yield
    exact = yield from _parse_digits(body)
    for message, again in zip(messages, exact, strict=True):
        if isinstance(message, dict) and isinstance(message.get(METADATA), dict):
            message[METADATA] = again[METADATA]
    yield


def _parse_digits(body: bytes) -> Steps[list[Any]]:
    """Return the messages in a body that is known to be valid, each number as a `mark_number`.

    One message after the other, as all of them would be a step of 30 ms. Raises MalformedBody
    (400) for JSON that is nested too deeply.
    """
    text = body.removeprefix(BOM_UTF8).decode()
    messages: list[Any] = []
    ends_at = perf_counter() + STEP_SECONDS
    at = _skip_space(text, 0) + 1
    while text[at := _skip_space(text, at, ",")] != "}":
        name, at = parse_digits_at(text, at)
        at = _skip_space(text, at, ":")
        if name != MESSAGES or text[at] != "[":
            _, at = parse_digits_at(text, at)
            continue
        messages, at = [], at + 1  # the last member of this name counts
        while text[at := _skip_space(text, at, ",")] != "]":
            message, at = parse_digits_at(text, at)
            messages.append(message)
            if perf_counter() > ends_at:
                yield
                ends_at = perf_counter() + STEP_SECONDS
        at += 1
    return messages


def _skip_space(text: str, at: int, separator: str = "") -> int:
    """Return the position of what follows in valid JSON, behind a separator if there is one."""
    while text[at] in {" ", "\t", "\n", "\r", separator}:
        at += 1
    return at


def _parse(body: bytes) -> Any:
    return _uncollected(orjson.loads, body)


def _uncollected(parse: Callable[[bytes], Any], body: bytes) -> Any:
    """Parse JSON without looking for garbage: a body of empty arrays would cause hundreds of
    collections, which take longer than all the rest, and there is no garbage in it."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return parse(body)
    finally:
        if was_enabled:
            gc.enable()


def bulk_created(first: int, count: int) -> tuple[str, str]:
    """Return the JSON members with the numbers of new messages, and the query that lists these."""
    numbers = f'"first_number":{first},"last_number":{first + count - 1}'
    return numbers, f"?after={first - 1}&limit={count}"
