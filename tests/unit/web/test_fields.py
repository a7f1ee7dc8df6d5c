"""Input: values are kept verbatim, however they are sent."""

import json
import time
from typing import Any
from urllib.parse import quote_from_bytes, quote_plus, urlencode

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numbering_service.creations.attributes import message_fields
from web.fields import (
    MAX_PAIRS,
    MISSING,
    check_keyword,
    check_message_body,
    check_name,
    parse_body,
    parse_optional_body,
    parse_urlencoded,
)
from web.media_types import media_type_of, parameter_of
from web.problems import MalformedBody, UnsupportedMediaType, ValidationFailed

JSON, FORM = "application/json", "application/x-www-form-urlencoded"
LONE = st.characters(codec="utf-8")
TEXTS = st.text(LONE, min_size=1, max_size=200) | st.sampled_from(
    [
        "  kept \r\n",
        "e\u0301é",
        "👩‍👩‍👧",
        "שלום",
        "漢字",
        "{",
        '{"a":1}',
        "a=b&c%41+",
        "--x\r\n",
        "\u2028\x0b",
    ]
)
JSON_TYPES = (
    JSON,
    "APPLICATION/JSON ; Charset=UTF-8",
    'application/json; charset="utf-8"',
    "application/vnd.api+json",
    "text/json",
    "application/json; charset=us-ascii",
    "text/plain",
    "text/plain; charset=ISO-8859-1",
    None,
    "",
    FORM,
)


def find(body: bytes = b"", content_type: str | None = JSON, query: bytes = b"") -> object:
    return message_fields(content_type, body, query).get("body", MISSING)


@given(TEXTS, st.sampled_from(JSON_TYPES), st.booleans())
def test_json_round_trips(text: str, content_type: str | None, escaped: bool) -> None:
    sent = json.dumps({"other": 1, "body": text}, ensure_ascii=escaped)
    assert find(b" \r\n\t" + sent.encode(), content_type) == text


@given(TEXTS, st.sampled_from([FORM, f"{FORM}; charset=UTF-8", FORM.upper()]))
def test_a_form_round_trips(text: str, content_type: str) -> None:
    assert find(urlencode({"x": "1", "body": text}).encode(), content_type) == text


@given(TEXTS)
def test_a_query_string_round_trips(text: str) -> None:
    for encoded in (quote_plus(text), quote_from_bytes(text.encode(), safe="")):
        assert find(query=f"x=1&body={encoded}".encode(), content_type=None) == text


@given(st.text(LONE.filter(lambda c: c not in "&+%"), min_size=1).filter(lambda t: t[0] != "{"))
def test_an_unencoded_form_is_read_as_it_is(text: str) -> None:
    assert find(b"body=" + text.encode(), FORM) == text


def test_lone_percent_signs_are_kept() -> None:
    assert parse_urlencoded(b"body=100%&x=%zz%4") == {"body": "100%", "x": "%zz%4"}


def test_the_body_comes_before_the_query_string() -> None:
    assert find(b'{"body": "json"}', JSON, b"body=query") == "json"
    assert find(b"body=form", FORM, b"body=query") == "form"
    assert find(b'{"body": null}', JSON, b"body=query") is None
    assert find(b'{"name": "x"}', JSON, b"body=query") == "query"
    assert find(b"", "image/png", b"body=query") == "query"


def test_the_last_value_of_a_repeated_name_counts() -> None:
    assert find(b'{"body": "a", "body": "b"}') == "b"
    assert find(b"body=a&body=b", FORM) == "b"
    assert find(query=b"body=a&body=b") == "b"


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b'{"body": }',
        b"{'body': 'x'}",
        b'{"body": NaN}',
        b'{"body": Infinity}',
        b'{"body": "\\ud800"}',
        b'{"body": "\xed\xa0\x80"}',
        b'{"body": "\xff"}',
        b'{"body": "a\nb"}',
        b'{"body": "a"} x',
        b'\xef\xbb\xbf\xef\xbb\xbf{"body": "a"}',
        b'{"body": \xef\xbb\xbf"a"}',
        b'{"body": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
    ids=range(13),
)
def test_malformed_json_is_rejected_as_malformed(body: bytes) -> None:
    with pytest.raises(MalformedBody):
        find(body)


@pytest.mark.parametrize("body", [b"[]", b"1", b'"body"', b"null", b"true"])
def test_json_that_is_not_an_object_is_invalid(body: bytes) -> None:
    with pytest.raises(ValidationFailed):
        find(body)


@pytest.mark.parametrize("data", [b"body=%ff", b"body=\xff", b"body=%c3"])
def test_a_field_that_is_not_utf8_is_malformed(data: bytes) -> None:
    for sent in ({"body": data, "content_type": FORM}, {"query": data}):
        with pytest.raises(MalformedBody):
            find(**sent)


@pytest.mark.parametrize("pair", [b"%ed%a0%80=1", b"utm=%ff", b"\xff", b"%ff%00=%ff"])
def test_what_else_is_not_utf8_is_malformed_in_a_form_alone(pair: bytes) -> None:
    with pytest.raises(MalformedBody):
        find(b"body=x&" + pair, FORM)
    assert find(query=b"body=x&" + pair) == "x"


@pytest.mark.parametrize(
    "content_type",
    ["application/xml", "image/png", "nonsense", f"{FORM}; charset=utf-16",
     "multipart/form-data; boundary=x; charset=latin-1", "multipart/mixed; boundary=x"],
)  # fmt: skip
def test_other_media_types_are_not_parsed(content_type: str) -> None:
    with pytest.raises(UnsupportedMediaType):
        find(b'{"body": "x"}', content_type)


@pytest.mark.parametrize("body", [b"hello", b"body=x", b'"x"', b"null", b"[]", b" x {"])
def test_plain_text_is_parsed_only_if_it_is_a_json_object(body: bytes) -> None:
    with pytest.raises(UnsupportedMediaType):
        find(body, "text/plain")
    with pytest.raises(MalformedBody):
        find(b'{"body"', "text/plain")


@pytest.mark.parametrize("content_type", JSON_TYPES)
def test_a_byte_order_mark_before_json_is_skipped(content_type: str | None) -> None:
    assert find(b'\xef\xbb\xbf {"body": "\xef\xbb\xbfx"}', content_type) == "\ufeffx"


@pytest.mark.parametrize("content_type", [*JSON_TYPES, "text/plain", FORM])
def test_a_byte_order_mark_alone_is_an_empty_body(content_type: str | None) -> None:
    assert parse_body(content_type, b"\xef\xbb\xbf", orjson.loads) == {}


@pytest.mark.parametrize("number", [b"1e309", b"-1e309", b"9" * 400])
def test_a_number_that_no_double_holds_is_named(number: bytes) -> None:
    with pytest.raises(MalformedBody, match="has a number that is too large"):
        find(b'{"body": "x", "metadata": {"size": %s}}' % number, JSON)


@pytest.mark.parametrize("body", [b"", b"null", b'""', b" null\r\n", b"\xef\xbb\xbfnull", b"{}"])
@pytest.mark.parametrize("content_type", [JSON, None, "text/plain", "application/vnd.api+json"])
def test_where_no_field_is_required_null_and_an_empty_string_are_accepted(
    content_type: str | None, body: bytes
) -> None:
    assert parse_optional_body(content_type, body, orjson.loads) == {}


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"[]", ValidationFailed),
        (b"0", ValidationFailed),
        (b"false", ValidationFailed),
        (b'"x"', ValidationFailed),
        (b"nul", MalformedBody),
        (b"null null", MalformedBody),
        (b" ", MalformedBody),
    ],
)
def test_an_optional_body_is_parsed_as_strictly(body: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        parse_optional_body(JSON, body, orjson.loads)
    with pytest.raises(UnsupportedMediaType):
        parse_optional_body("image/png", b"null", orjson.loads)


def test_an_empty_body_of_any_type_has_no_fields() -> None:
    for content_type in (JSON, FORM, "multipart/form-data; boundary=x", "text/plain", None):
        assert parse_body(content_type, b"", orjson.loads) == {}


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", ("", None)),
        ("Text/JSON", ("text/json", None)),
        ("a/b;c=d", ("a/b", "d")),
        ('a/b; C = "d; e=f"; g=h', ("a/b", "d; e=f")),
        ('a/b; g="h; c=d"', ("a/b", None)),
        (r'a/b; c="d\"e\""', ("a/b", 'd"e"')),
        ("a/b; c", ("a/b", None)),
        ("a/b; c=", ("a/b", "")),
        ("a/b;; c=d;", ("a/b", "d")),
        ("a/b; c=d; c=e", ("a/b", "e")),
    ],
)
def test_content_types_are_parsed(header: str, expected: Any) -> None:
    assert (media_type_of(header), parameter_of(header, "c")) == expected


@pytest.mark.parametrize("unit", ["a", ";", " ", "; ", ";a", ';a="', "a=", '"', "\\"])
def test_every_content_type_is_parsed_quickly(unit: str) -> None:
    # Linear, it takes milliseconds; going back and forth, it took a minute.
    started = time.process_time()
    parameter_of("a/b; " + unit * (60_000 // len(unit)), "a")
    assert time.process_time() - started < 10


def test_a_form_of_too_many_pairs_is_refused_at_once() -> None:
    assert find(b"x&" * (MAX_PAIRS - 1) + b"body=a", FORM) == "a"
    with pytest.raises(ValidationFailed, match="at most"):
        find(b"&" * 2**20, FORM)


@pytest.mark.parametrize("check", [check_name, check_message_body, check_keyword])
@pytest.mark.parametrize(
    "value", [MISSING, None, 1, 1.5, True, [], {}, ["a"], "", " ", "\u3000\n", "a\x00b"]
)
def test_a_value_that_is_not_text_is_invalid(check: Any, value: object) -> None:
    with pytest.raises(ValidationFailed) as raised:
        check(value)
    assert raised.value.status == 422
    assert raised.value.errors[0]["field"] in {"name", "body", "keyword"}


@pytest.mark.parametrize(
    ("check", "longest"),
    [
        (check_name, "n" * 255),
        (check_name, "👩" * 255),
        (check_message_body, "b" * 65_536),
        (check_message_body, "é" * 32_768),
        (check_message_body, "漢" * 21_845 + "a"),
        (check_message_body, "👩" * 16_384),
        (check_keyword, "k" * 256),
    ],
    ids=range(7),
)
def test_the_longest_text_passes_and_a_longer_one_does_not(check: Any, longest: str) -> None:
    assert check(longest) == longest
    with pytest.raises(ValidationFailed):
        check(longest + "x")


@settings(max_examples=300)
@given(st.binary(max_size=300), st.sampled_from([*JSON_TYPES, "multipart/form-data; boundary=b"]))
def test_no_input_causes_a_500(body: bytes, content_type: str) -> None:
    try:
        find(body, content_type, query=body)
    except (MalformedBody, ValidationFailed, UnsupportedMediaType):
        return
