"""Metadata: what is accepted, and that it comes back as JSON that means the same."""

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numbering_service.creations.attributes import check_message, message_fields
from web import metadata
from web.metadata import check_metadata, has_changed_numbers
from web.problems import MalformedBody, ValidationFailed

CHARACTERS = st.characters(codec="utf-8", exclude_characters="\x00")
TEXTS = st.text(CHARACTERS, max_size=20)
NUMBERS = (
    st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.decimals(-1000, 1000, places=30).map(float)
)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda values: st.lists(values, max_size=4) | st.dictionaries(TEXTS, values, max_size=4),
    max_leaves=10,
)
OBJECTS = st.dictionaries(TEXTS, VALUES, max_size=4)


def nested(levels: int, innermost: object = 1) -> dict[str, Any]:
    value: Any = innermost
    for _ in range(levels):
        value = {"a": value}
    assert isinstance(value, dict)
    return value


def send(metadata: str | bytes) -> str:
    """Return the metadata of a message as it is kept."""
    sent = metadata.encode() if isinstance(metadata, str) else metadata
    fields = message_fields("application/json", b'{"body":"x","metadata":%s}' % sent, b"")
    attributes = check_message(fields).attributes
    return attributes.removeprefix('{"metadata":').removesuffix("}")


@given(OBJECTS, st.booleans())
def test_metadata_means_the_same_when_it_comes_back(metadata: Any, escaped: bool) -> None:
    try:
        kept = send(json.dumps(metadata, ensure_ascii=escaped, indent=1))
    except ValidationFailed:
        return  # too deep or too large
    assert json.loads(kept) == metadata
    assert "\n" not in kept


NUMBERS_OF_MANY_DIGITS = """
    12345678901234567890123 -9223372036854775809 18446744073709551616 0.12345678901234567890 1E4
    1.0 -0.0 1e-400 3.141592653589793238462643383279
"""


@pytest.mark.parametrize("number", NUMBERS_OF_MANY_DIGITS.split())
def test_a_number_keeps_its_digits(number: str) -> None:
    assert send(f'{{"n": {number}, "more": [{number} ]}}') == f'{{"more":[{number}],"n":{number}}}'


def test_equal_metadata_is_equal_text() -> None:
    assert send('{"b": [1, "\\u00e9"], "a": null}') == send(' {"a":null ,"b":[ 1,"é"]}')


@pytest.mark.parametrize(
    "metadata", ["1", '"text"', "null", "[]", "[{}]", "true", '{"a":"\\u0000"}', '{"\\u0000":1}']
)
def test_anything_but_a_storable_object_is_refused(metadata: str) -> None:
    with pytest.raises(ValidationFailed, match="metadata"):
        send(metadata)


def test_a_form_or_a_query_holds_no_metadata() -> None:
    form = "application/x-www-form-urlencoded"
    for content_type, body, query in (
        (form, b"body=x&metadata=%7B%7D", b""),
        (form, b"body=x", b"metadata=%7B%7D"),
        ("application/json", b'{"body":"x"}', b"a=1&metadata={}"),
    ):
        with pytest.raises(ValidationFailed, match="metadata"):
            check_message(message_fields(content_type, body, query))


def test_nesting_has_a_limit_of_eight_levels() -> None:
    assert check_metadata(nested(8)) == json.dumps(nested(8), separators=(",", ":"))
    assert check_metadata(nested(7, [])).endswith("[]" + "}" * 7)
    for deep in (nested(9), nested(8, [1]), nested(500)):
        with pytest.raises(ValidationFailed, match="nested"):
            check_metadata(deep)


@pytest.mark.parametrize("character", ["a", "é", "漢", "😀"])
def test_the_limit_is_4096_bytes_as_compact_utf_8(character: str) -> None:
    size = len(character.encode())
    room = 4096 - len('{"a":""}')
    fits = {"a": character * (room // size)}
    assert send(json.dumps(fits)) == json.dumps(fits, ensure_ascii=False, separators=(",", ":"))
    with pytest.raises(ValidationFailed, match="4096"):
        send(json.dumps({"a": character * (room // size + 1)}))


def test_metadata_of_very_many_values_is_refused() -> None:
    for value in ([1.5] * 30_000, {str(i): 1.5 for i in range(5_000)}, "x" * 500_000):
        with pytest.raises(ValidationFailed, match="4096"):
            send(orjson.dumps({"a": value}))


def test_very_many_values_beside_metadata_are_no_reason_to_refuse_it() -> None:
    junk = b",".join([b"1.5"] * 30_000)
    fields = message_fields("application/json", b'{"metadata":{"a":1.50},"x":[%s]}' % junk, b"")
    assert check_metadata(fields["metadata"]) == '{"a":1.50}'


class Unread(list[object]):
    """A list whose items are not to be looked at."""

    def __iter__(self) -> Iterator[object]:
        raise AssertionError("looked at")


def test_no_value_is_looked_at_where_there_are_too_many() -> None:
    assert not has_changed_numbers({"a": Unread([1] * 3000)}, minus_zero=True)


@pytest.mark.parametrize("long", ["0." + "1" * 30_000, '1.5,"b":"' + r"\n" * 15_000 + '"'])
def test_metadata_that_is_too_long_is_not_parsed_again(
    long: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    again: list[msgspec.Raw] = []
    monkeypatch.setattr(metadata, "parse_digits", again.append)
    with pytest.raises(ValidationFailed, match="4096"):
        send(f'{{"a":{long}}}')
    assert again == []


def test_metadata_may_be_written_with_escapes_and_spaces() -> None:
    escaped = "".join(f"\\u{ord(character):04x}" for character in "n" * 4070)
    sent = f'{{ "a": {" " * 50_000} "{escaped}", "b":\n1.50 }}'
    assert send(sent) == f'{{"a":"{"n" * 4070}","b":1.50}}'


@pytest.mark.parametrize("zero", ["-0", "[-0]", '{"b":[0,-0]}', "-0.0", "-0e1"])
def test_a_negative_zero_keeps_its_sign(zero: str) -> None:
    assert send(f'{{"a":{zero}}}') == f'{{"a":{zero}}}'


@pytest.mark.parametrize("levels", [950, 1000, 1020])
def test_nesting_that_only_the_first_parser_allows_is_refused(levels: int) -> None:
    """The metadata has a float, so the body is parsed again, by a parser with another limit."""
    junk = b"[" * levels + b"]" * levels
    try:
        fields = message_fields("application/json", b'{"metadata":{"a":1.5},"x":%s}' % junk, b"")
    except MalformedBody:
        return
    assert check_metadata(fields["metadata"]) == '{"a":1.5}'
