"""Input: how a field is found in a request, and what a field may hold.

A field is taken from a JSON body, a form body or the query string, in that order. Values are
returned as they were sent; `check_*` validate them. JSON is parsed by the caller's `loads`, which
must be strict (RFC 8259: no NaN, no lone surrogate, bounded nesting) and raise ValueError; both
services pass `orjson.loads`, whose import would not belong in this package.
"""

import re
from binascii import a2b_qp
from codecs import BOM_UTF8
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from contract.paths import MAX_NUMBER
from web.characters import is_blank
from web.media_types import is_utf8, media_type_of, parameter_of
from web.metadata import MAX_METADATA_BYTES, METADATA, exact_numbers
from web.multipart import MULTIPART, parse_multipart
from web.problems import MalformedBody, UnsupportedMediaType, ValidationFailed

MAX_REQUEST_BYTES: Final = 1024 * 1024
MAX_NAME_CHARACTERS = 255
MAX_SENDER_CHARACTERS = 255
MAX_BODY_BYTES: Final = 65_536
MAX_KEYWORD_CHARACTERS = 256
MAX_PAIRS = 1000
# As many as fit into a message whose fields hold nothing else, and some for what surrounds them.
# A character is percent-encoded as up to four escapes; a form has no metadata.
MAX_ESCAPES = MAX_BODY_BYTES + 4 * MAX_SENDER_CHARACTERS + 2 * MAX_PAIRS
# Of JSON; ten times as many as metadata has room for. Each takes up to 0.1 microseconds to parse.
MAX_MARKS: Final = 10 * MAX_METADATA_BYTES
_MARKS: Final = b'[{:,"'

URLENCODED: Final = "application/x-www-form-urlencoded"
PLAIN: Final = "text/plain"
_FORMS: Final = frozenset({URLENCODED, MULTIPART})
JSON_SPACE: Final = b" \t\r\n"
_IDEMPOTENCY_KEY = re.compile(rb"[\x20-\x7e]{1,255}")
_LONE_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")

Loads = Callable[[bytes], Any]
Fields = Mapping[str, object]


class Missing:
    """The type of `MISSING`: a field that was not sent, which is not a null."""


MISSING: Final = Missing()


def parse_body(
    content_type: str | None, body: bytes, loads: Loads, max_marks: int = MAX_MARKS
) -> Fields:
    """Parse the fields of a body of any supported type; an empty body has none.

    Args:
        content_type: the header; None without one.
        body: all of it.
        loads: parses JSON.
        max_marks: how many marks JSON may have, as `marks_of` counts them.

    Returns:
        Values by name. Raises UnsupportedMediaType (415), MalformedBody (400) or
        ValidationFailed (422).
    """
    if not body or body == BOM_UTF8:
        return {}
    content_type = content_type or ""
    media_type = media_type_of(content_type)
    # JSON is always UTF-8: a charset parameter has no meaning there.
    if media_type in _FORMS and not is_utf8(content_type):
        raise UnsupportedMediaType
    if is_json(media_type, body):
        return parse_json(body, loads, max_marks)
    if media_type == URLENCODED:
        return parse_urlencoded(body)
    if media_type == MULTIPART:
        return parse_multipart(parameter_of(content_type, "boundary") or "", body)
    raise UnsupportedMediaType


def parse_optional_body(content_type: str | None, body: bytes, loads: Loads) -> Fields:
    """Parse the body of a request that needs no field: a JSON `null` or `""` has none either.

    Args:
        content_type: the header; None without one.
        body: all of it.
        loads: parses JSON.

    Returns:
        Values by name. Raises what `parse_body` raises.
    """
    media_type = media_type_of(content_type or "")
    nothing = body.removeprefix(BOM_UTF8).strip(JSON_SPACE) in {b"null", b'""'}
    if nothing and (media_type == PLAIN or is_json(media_type, body)):
        return {}
    return parse_body(content_type, body, loads)


def check_idempotency_key(value: bytes) -> str:
    """Check an Idempotency-Key: 1 to 255 printable ASCII characters; raises 422."""
    if _IDEMPOTENCY_KEY.fullmatch(value) is None:
        reason = "Must be a single header of 1 to 255 printable ASCII characters."
        raise ValidationFailed("Idempotency-Key", reason)
    return value.decode("ascii")


def is_json(media_type: str, body: bytes) -> bool:
    """Whether a body is JSON by its type, has no type, or is an object sent as text or a form.

    curl's `-d '{…}'` declares a form, a browser's `fetch` declares a string as text.
    """
    if media_type in {"", "application/json", "text/json"} or media_type.endswith("+json"):
        return True
    if media_type not in {URLENCODED, PLAIN}:
        return False
    return body.removeprefix(BOM_UTF8).lstrip(JSON_SPACE).startswith(b"{")


def parse_json(body: bytes, loads: Loads, max_marks: int = MAX_MARKS) -> Fields:
    """Parse the members of a JSON object.

    Args:
        body: all of it.
        loads: parses JSON; raises ValueError.
        max_marks: how many marks it may have, as `marks_of` counts them.

    Returns:
        Values by name. Raises MalformedBody (400) for bad JSON, ValidationFailed (422) for
        another value.
    """
    value = parse_value(body.removeprefix(BOM_UTF8), loads, max_marks)
    if not isinstance(value, dict):
        raise ValidationFailed("body", "The body must be a JSON object.")
    return with_exact_numbers(value, body)


def parse_value(text: bytes, loads: Loads, max_marks: int = MAX_MARKS) -> Any:
    """Parse JSON in one step, which its marks bound; raises MalformedBody (400).

    Args:
        text: JSON, without a byte order mark.
        loads: parses it; raises ValueError.
        max_marks: how many marks it may have, as `marks_of` counts them.
    """
    if len(text) > max_marks and marks_of(text, max_marks) > max_marks:
        raise MalformedBody(
            f"JSON may have at most {max_marks} brackets, colons, commas and quotes here."
        )
    try:
        return loads(text)
    except ValueError as error:
        # Valid JSON, which no parser that reads numbers as doubles can take.
        is_overflow = "infinity" in str(error)
        detail = "has a number that is too large" if is_overflow else "is not valid JSON in UTF-8"
        raise MalformedBody(f"The body {detail}.") from error


def marks_of(text: bytes, enough: int) -> int:
    """Return how many brackets, colons, commas and quotes JSON has: how many values and names.

    They are what takes long to parse: a megabyte of them a hundred times as long as one of text.
    Those within strings do not count, since a message may consist of them. More than `enough`
    need not be counted exactly.
    """
    if _count(text) <= enough:
        return 0
    unescaped = text.replace(rb"\\", b"").replace(rb"\"", b"")
    quotes = unescaped.count(b'"')
    if quotes > enough:
        return quotes
    return quotes + _count(b"".join(unescaped.split(b'"')[::2]))


def _count(text: bytes) -> int:
    return len(text) - len(text.translate(None, _MARKS))


def with_exact_numbers(members: dict[str, Any], text: bytes) -> dict[str, Any]:
    """Return the members of a JSON text with the digits of the numbers in metadata as sent.

    Raises MalformedBody (400) for JSON that is nested too deeply.
    """
    try:
        return exact_numbers(members, text) if METADATA in members else members
    except RecursionError as error:  # the first parser may allow deeper nesting
        raise nested_too_deeply() from error


def nested_too_deeply() -> MalformedBody:
    """Return the problem of JSON that is nested deeper than a parser goes."""
    return MalformedBody("The body is nested too deeply.")


def parse_urlencoded(data: bytes, names: Collection[str] | None = None) -> dict[str, object]:
    """Parse the pairs of a form or query string; the last of a repeated name counts.

    `names` are those that matter: others are left out, and may hold anything. In a form, which is
    a body and has to be UTF-8 as a whole, all of them do.
    Raises MalformedBody (400) for invalid UTF-8, ValidationFailed (422) for so
    many pairs or escapes that parsing them would block all other requests.
    """
    if data.count(b"&") >= MAX_PAIRS:
        raise ValidationFailed("body", f"A form or query may have at most {MAX_PAIRS} fields.")
    # To `unquote`, an equals sign is as much work as an escape.
    if data.count(b"%") + data.count(b"=") > MAX_ESCAPES:
        raise ValidationFailed(
            "body",
            f"A form or query may have at most {MAX_ESCAPES} escapes and equals signs.",
        )
    fields: dict[str, object] = {}
    for pair in data.replace(b"+", b" ").split(b"&"):
        name, _, value = pair.partition(b"=")
        try:
            field = unquote(name).decode(errors="strict" if names is None else "replace")
            if names is None or field in names:
                fields[field] = unquote(value).decode()
        except UnicodeDecodeError as error:
            raise MalformedBody("The form or query string is not valid UTF-8.") from error
    return fields


def unquote(text: bytes) -> bytes:
    """Percent-decode; a % that begins no escape is kept.

    The result is the same as urllib's, without a Python step for each escape, which would block
    the event loop. Quoted-printable has the same escapes after another character.
    """
    if b"%" not in text:
        return text
    escaped = _LONE_PERCENT.sub(b"%25", text).replace(b"=", b"%3D").replace(b"%", b"=")
    return a2b_qp(escaped)


def check_name(value: object) -> str:
    """Check an application's name: 1 to 255 characters, not blank; raises 422."""
    return check_characters("name", value, MAX_NAME_CHARACTERS)


def check_sender(value: object) -> str:
    """Check a message's sender: 1 to 255 characters, not blank; raises 422."""
    return check_characters("sender", value, MAX_SENDER_CHARACTERS)


def check_reply_to(value: object) -> int:
    """Check the number of the message that another one replies to; raises 422.

    Whether there is such a message is not known here.
    """
    if type(value) is int and 1 <= value <= MAX_NUMBER:
        return value
    raise bad_reply_to()


def bad_reply_to(field: str = "reply_to") -> ValidationFailed:
    """Return the problem of a `reply_to` that is no number of an earlier message."""
    return ValidationFailed(field, "Must be the number of an earlier message of this chat.")


def check_keyword(value: object) -> str:
    """Check a search keyword: 1 to 256 characters, not blank; raises 422."""
    return check_characters("keyword", value, MAX_KEYWORD_CHARACTERS)


def check_characters(field: str, value: object, limit: int) -> str:
    """Check a text of at most `limit` characters, as `check_text` does; raises 422."""
    return check_text(field, value, limit, "characters")


def check_message_body(value: object) -> str:
    """Check a message's body: 1 to 65,536 bytes of UTF-8, not blank; raises 422."""
    text = check_text("body", value, MAX_BODY_BYTES, "bytes of UTF-8")
    # Most bodies are far from the limit, and no character takes more than four bytes.
    if len(text) * 4 > MAX_BODY_BYTES and len(text.encode()) > MAX_BODY_BYTES:
        raise ValidationFailed("body", f"Must have at most {MAX_BODY_BYTES} bytes of UTF-8.")
    return text


def check_text(field: str, value: object, limit: int, unit: str) -> str:
    """Check for a string that PostgreSQL can store and that is not blank; raises 422.

    Args:
        field: its name.
        value: what was sent.
        limit: how many characters it may have.
        unit: what the limit is said to count.
    """
    if value is MISSING:
        raise ValidationFailed(field, "Is required.")
    if not isinstance(value, str):
        raise ValidationFailed(field, "Must be a string.")
    if len(value) > limit:  # looked at first: what is blank is found letter by letter
        raise ValidationFailed(field, f"Must have at most {limit} {unit}.")
    if is_blank(value):
        raise ValidationFailed(field, "Must not be blank.")
    if "\x00" in value:
        raise ValidationFailed(field, "Must not contain the character U+0000.")
    return value
