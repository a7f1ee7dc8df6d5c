"""Several messages in one request: each is valid as a single one would be, or none is created."""

import orjson

from numbering_service.creation import Bulk, Creation
from numbering_service.creations.attributes import MessageFields, check_message
from numbering_service.creations.requests import Target, read_head
from web.fields import MISSING, parse_body, parse_digits
from web.metadata import exact_numbers_in_items
from web.problems import ValidationFailed
from web.server.request import Request

MESSAGES = "messages"
MAX_MESSAGES = 500
# In one answer; the first ones are enough to find the mistake.
MAX_ERRORS = 20


def read_bulk(target: Target, request: Request, request_id: str) -> Bulk:
    """Return the creation of the messages in a request; raises 400, 413, 415 or 422."""
    head = read_head(request.headers, request.body)
    messages = tuple(
        Creation(
            target.access_token,
            target.chat_number,
            message.body,
            request_id,
            attributes=message.attributes,
            reply_to=message.reply_to,
        )
        for message in read_messages(head.content_type, request.body)
    )
    return Bulk(messages, head.idempotency_key)


def read_messages(content_type: str | None, body: bytes) -> list[MessageFields]:
    """Return the fields of the messages in a body; raises 400, 415 or 422."""
    fields = dict(parse_body(content_type, body, orjson.loads))
    fields = exact_numbers_in_items(fields, MESSAGES, body, parse_digits)
    return check_messages(fields.get(MESSAGES, MISSING))


def check_messages(value: object) -> list[MessageFields]:
    """Return the fields of the messages; raises 422, which names each field that is not valid."""
    if value is MISSING:
        raise ValidationFailed(MESSAGES, "Is required.")
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_MESSAGES:
        raise ValidationFailed(MESSAGES, f"Must be an array of 1 to {MAX_MESSAGES} messages.")
    messages: list[MessageFields] = []
    errors: list[tuple[str, str]] = []
    for position, message in enumerate(value):
        name = f"{MESSAGES}[{position}]"
        if not isinstance(message, dict):
            errors.append((name, "Must be an object."))
            continue
        try:
            messages.append(check_message(message))
        except ValidationFailed as problem:
            errors += [(f"{name}.{error['field']}", error["message"]) for error in problem.errors]
    if errors:
        raise ValidationFailed(*errors[0], *errors[1:MAX_ERRORS])
    return messages


def bulk_created(first: int, count: int) -> tuple[str, str]:
    """Return the JSON members with the numbers of new messages, and the query that lists these."""
    numbers = f'"first_number":{first},"last_number":{first + count - 1}'
    return numbers, f"?after={first - 1}&limit={count}"
