"""Metadata: a JSON object of the client's own, checked and kept as compact JSON.

Its keys are sorted, so that equal metadata is equal text: a repeated creation and a PUT that
changes nothing are recognised by it. Strings keep their characters. Numbers keep the digits
that were sent: as floats, long ones would come back changed.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

from web.problems import ValidationFailed

METADATA = "metadata"
MAX_METADATA_BYTES = 4096
# The object itself is the first level.
MAX_NESTING = 8
# A member or an item takes at least two bytes.
_MAX_VALUES = MAX_METADATA_BYTES // 2

Loads = Callable[[bytes], Any]

_KEYWORDS = {True: "true", False: "false", None: "null"}


def check_metadata(value: object) -> str:
    """Return metadata as compact JSON; raises 422 if it is no object, too large or too deep."""
    if not isinstance(value, dict):
        raise ValidationFailed(METADATA, "Must be a JSON object.")
    pieces: list[str] = []
    size = 0
    for piece in _pieces(value, 1):
        pieces.append(piece)
        size += len(piece)
        if size > MAX_METADATA_BYTES:
            raise _too_large()
    text = "".join(pieces)
    if len(text.encode()) > MAX_METADATA_BYTES:
        raise _too_large()
    return text


def exact_numbers(fields: dict[str, Any], body: bytes, loads: Loads) -> dict[str, Any]:
    """Return the members of a JSON body with the numbers in its metadata as the bytes sent.

    `fields` are those members, with floats for numbers that are no 64-bit integers. Only if its
    metadata has one of these is the body parsed again, by `loads`, with bytes for numbers.
    """
    metadata = fields.get(METADATA)
    if not isinstance(metadata, dict) or not _has_floats(metadata):
        return fields
    return {**fields, METADATA: loads(body)[METADATA]}


def exact_numbers_in_items(
    fields: dict[str, Any], name: str, body: bytes, loads: Loads
) -> dict[str, Any]:
    """Do the same for the metadata of each object in an array of objects."""
    items = fields.get(name)
    if not isinstance(items, list):
        return fields
    found = [item.get(METADATA) if isinstance(item, dict) else None for item in items]
    if not any(isinstance(metadata, dict) and _has_floats(metadata) for metadata in found):
        return fields
    exact = [
        {**item, METADATA: again[METADATA]} if isinstance(metadata, dict) else item
        for item, metadata, again in zip(items, found, loads(body)[name], strict=True)
    ]
    return {**fields, name: exact}


def _has_floats(metadata: dict[str, Any]) -> bool:
    """Whether there is a float among the values; those of metadata that is too large may be
    overlooked, as it will be refused."""
    waiting: list[Any] = [metadata]
    for _ in range(_MAX_VALUES):
        if not waiting:
            return False
        value = waiting.pop()
        if isinstance(value, float):
            return True
        if isinstance(value, dict | list) and len(value) <= _MAX_VALUES:
            waiting += value.values() if isinstance(value, dict) else value
    return False


def _pieces(value: object, level: int) -> Iterator[str]:
    """Yield the JSON of a value in pieces; `level` is the nesting of an object or array."""
    if isinstance(value, str):
        yield _string(value)
    elif isinstance(value, bytes):  # a number, see `exact_numbers`
        yield value.decode()
    elif isinstance(value, dict | list):
        yield from _container(value, level)
    elif value is None or isinstance(value, bool):
        yield _KEYWORDS[value]
    else:
        yield repr(value)


def _container(value: dict[str, Any] | list[Any], level: int) -> Iterator[str]:
    if level > MAX_NESTING:
        raise ValidationFailed(METADATA, f"Must not be nested more than {MAX_NESTING} levels deep.")
    if len(value) > _MAX_VALUES:
        raise _too_large()
    if isinstance(value, list):
        for i, item in enumerate(value):
            yield "," if i else "["
            yield from _pieces(item, level + 1)
        yield "]" if value else "[]"
        return
    for i, name in enumerate(sorted(value)):
        yield "," if i else "{"
        yield f"{_string(name)}:"
        yield from _pieces(value[name], level + 1)
    yield "}" if value else "{}"


def _string(text: str) -> str:
    if len(text) > MAX_METADATA_BYTES:
        raise _too_large()
    if "\x00" in text:
        raise ValidationFailed(METADATA, "Must not contain the character U+0000.")
    return json.dumps(text, ensure_ascii=False)


def _too_large() -> ValidationFailed:
    return ValidationFailed(METADATA, f"Must have at most {MAX_METADATA_BYTES} bytes as JSON.")
