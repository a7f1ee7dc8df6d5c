"""Metadata: a JSON object of the client's own, checked and kept as compact JSON.

Its keys are sorted, so that equal metadata is equal text: a repeated creation and a PUT that
changes nothing are recognised by it. Strings keep their characters. Numbers keep the digits
that were sent: as floats, long ones would come back changed.
"""

import json
import re
from codecs import BOM_UTF8
from collections.abc import Collection
from typing import Any

import msgspec

from web.problems import ValidationFailed

METADATA = "metadata"
MAX_METADATA_BYTES = 4096
# The object itself is the first level.
MAX_NESTING = 8
# A member or an item takes at least two bytes.
_MAX_VALUES = MAX_METADATA_BYTES // 2

Container = dict[str, Any] | list[Any]

# What will be refused, in place of what would take long to parse.
_OVERSIZED = {"": " " * MAX_METADATA_BYTES}
_LONGEST_ESCAPE = 6  # for a character of one byte

# Around the digits of a number. No string has a lone surrogate, which the parsers of both services
# refuse.
_NUMBER, _NUMBER_END = "\udc80", "\udc81"
_MINUS_ZERO = b"-0"
_NUL = "\\u0000"
_ESCAPED_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def check_metadata(value: object) -> str:
    """Return metadata as compact JSON; raises 422 if it is no object, too large or too deep."""
    if not isinstance(value, dict):
        raise ValidationFailed(METADATA, "Must be a JSON object.")
    _check_shape(value)
    text = _ENCODER.encode(value)
    if _NUMBER in text:
        text = text.replace(f'"{_NUMBER}', "").replace(f'{_NUMBER_END}"', "")
    if len(text.encode()) > MAX_METADATA_BYTES:
        raise _too_large()
    if _NUL in text and _ESCAPED_NUL.search(text):
        raise ValidationFailed(METADATA, "Must not contain the character U+0000.")
    return text


def _check_shape(metadata: dict[str, Any]) -> None:
    """Check how many values there are and how deep; raises 422."""
    values = 0
    containers: list[Container] = [metadata]
    for _ in range(MAX_NESTING):
        values += sum(map(len, containers))
        if values > _MAX_VALUES:
            raise _too_large()
        containers = [inner for container in containers for inner in _containers(container)]
        if not containers:
            return
    raise ValidationFailed(METADATA, f"Must not be nested more than {MAX_NESTING} levels deep.")


class _Object(msgspec.Struct):
    """An object of JSON of which only the metadata matters, as it was sent; all else is skipped."""

    metadata: msgspec.Raw = msgspec.Raw(b"{}")


_OBJECT = msgspec.json.Decoder(_Object)


def exact_numbers(fields: dict[str, Any], body: bytes) -> dict[str, Any]:
    """Return the members of a JSON body with the numbers in its metadata as they were sent.

    Args:
        fields: the members, with floats for numbers that are no 64-bit integers, and 0 for -0.
        body: what they were parsed from.

    Returns:
        Members for `check_metadata`. Raises RecursionError for JSON that is nested too deeply.
    """
    metadata = fields.get(METADATA)
    minus_zero = may_have_minus_zero(body)
    if not isinstance(metadata, dict) or not has_changed_numbers(metadata, minus_zero):
        return fields
    sent = _OBJECT.decode(body.removeprefix(BOM_UTF8)).metadata
    return {**fields, METADATA: _OVERSIZED if _is_oversized(sent) else parse_digits(sent)}


def _is_oversized(metadata: msgspec.Raw) -> bool:
    """Whether metadata has too many bytes, however many of them are escapes and white space."""
    return len(bytes(metadata).translate(None, b" \t\r\n")) > _LONGEST_ESCAPE * MAX_METADATA_BYTES


def parse_digits(metadata: msgspec.Raw) -> Any:
    """Parse valid metadata with marks around the digits of its numbers, for `check_metadata`.

    Raises RecursionError for JSON that is nested too deeply.
    """
    return json.loads(bytes(metadata), parse_int=_mark_number, parse_float=_mark_number)


def may_have_minus_zero(body: bytes) -> bool:
    """Whether a body may have the number -0, which parsers return as 0."""
    return _MINUS_ZERO in body


def has_changed_numbers(metadata: dict[str, Any], minus_zero: bool) -> bool:
    """Whether parsing may have changed a number: a float, or with `minus_zero` a 0.

    Those of metadata that is too large may be overlooked, as it will be refused.
    """
    waiting: list[Container] = [metadata]
    values = 0
    while waiting:
        container = waiting.pop()
        values += 1 + len(container)
        if values > _MAX_VALUES:
            return False
        if float in _types(container) or (minus_zero and 0 in _values(container)):
            return True
        waiting += _containers(container)
    return False


def _types(container: Container) -> set[type]:
    """Return the types of the values in a container, without a Python step for each of them."""
    return set(map(type, _values(container)))


def _containers(container: Container) -> list[Container]:
    """Return the objects and arrays in an object or array."""
    if not container or _types(container).isdisjoint((dict, list)):
        return []
    return [value for value in _values(container) if isinstance(value, dict | list)]


def _values(container: Container) -> Collection[Any]:
    return container.values() if isinstance(container, dict) else container


def _mark_number(digits: str) -> str:
    return f"{_NUMBER}{digits}{_NUMBER_END}"


# Its C code encodes a bulk of metadata in milliseconds.
_ENCODER = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _too_large() -> ValidationFailed:
    return ValidationFailed(METADATA, f"Must have at most {MAX_METADATA_BYTES} bytes as JSON.")
