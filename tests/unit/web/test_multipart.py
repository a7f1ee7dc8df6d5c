"""multipart/form-data: exact values, and malformed forms."""

import contextlib
import re
import time

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from web.media_types import without_backslashes
from web.multipart import MAX_HEADER_BYTES, MAX_PARTS, parse_multipart
from web.problems import MalformedBody, UnsupportedMediaType, ValidationFailed

TEXTS = st.text(st.characters(codec="utf-8"), max_size=200) | st.sampled_from(
    ["\r\n", "\r\n--", "--b", "\r\n--b\r\n", "  kept \n", "\r\n\r\n", "👩‍👩‍👧"]
)


def form(*parts: bytes, boundary: bytes = b"b") -> bytes:
    """Return a form of parts, each given as its headers, an empty line and its value."""
    delimited = b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts)
    return delimited + b"--" + boundary + b"--\r\n"


def part(name: bytes = b'"body"', value: bytes = b"hi", more: bytes = b"") -> bytes:
    return b"Content-Disposition: form-data; name=" + name + more + b"\r\n\r\n" + value


@given(TEXTS, TEXTS)
def test_a_form_round_trips(body: str, other: str) -> None:
    files = {"other": (None, other), "body": (None, body)}
    request = httpx.Request("POST", "http://x", files=files)
    boundary = request.headers["content-type"].partition("boundary=")[2]
    assert parse_multipart(boundary, request.read()) == {"other": other, "body": body}


@given(st.binary(max_size=200))
def test_no_input_causes_a_500(data: bytes) -> None:
    for body in (data, b"--b" + data, form(data), form(part(data)), form(part(value=data))):
        try:
            parse_multipart("b", body)
        except (MalformedBody, ValidationFailed):
            continue


def test_a_form_without_fields_is_empty() -> None:
    assert parse_multipart("b", form()) == {}
    assert parse_multipart("b", b"--b--") == {}


def test_a_name_may_be_a_token_as_dotnet_sends_it() -> None:
    assert parse_multipart("b", form(part(b"body"))) == {"body": "hi"}
    assert parse_multipart("b", form(part(b"body", more=b"; x=y"))) == {"body": "hi"}


@pytest.mark.parametrize(
    ("sent", "name"),
    [(rb'"a\"b"', 'a"b'), (rb'"a\\b"', "a\\b"), ('"é"'.encode(), "é"), (b'""', "")],
)
def test_quoted_names_are_unquoted(sent: bytes, name: str) -> None:
    assert parse_multipart("b", form(part(sent))) == {name: "hi"}


@pytest.mark.parametrize("more", [b'; filename="a.txt"', b"; FileName=a", b"; filename*=utf-8''a"])
def test_a_file_is_not_a_field(more: bytes) -> None:
    assert parse_multipart("b", form(part(more=more), part(b'"x"'))) == {"x": "hi"}


def test_an_encoded_name_is_not_a_known_field() -> None:
    encoded = b"Content-Disposition: form-data; name*=utf-8''%C3%A9\r\n\r\nhi"
    assert parse_multipart("b", form(encoded, part())) == {"body": "hi"}


def test_other_headers_and_letter_cases_change_nothing() -> None:
    sent = b"X-A: b\r\ncontent-type: text/plain\r\nCONTENT-disposition:form-data;NAME=" + b'"body"'
    assert parse_multipart("b", form(sent + b"\r\n\r\nhi")) == {"body": "hi"}


@pytest.mark.parametrize(
    "content_type",
    [
        b"text/plain; charset=ISO-8859-1",
        b'TEXT/PLAIN;Charset="latin1"',
        b"text/html;charset=utf-16",
    ],
)
def test_a_part_in_another_charset_is_not_read(content_type: bytes) -> None:
    with pytest.raises(UnsupportedMediaType):
        parse_multipart("b", form(b"Content-Type: " + content_type + b"\r\n" + part()))


@pytest.mark.parametrize("content_type", [b"text/plain; charset=UTF-8", b"text/plain", b"x", b""])
def test_a_part_in_utf_8_is_read_whatever_its_type(content_type: bytes) -> None:
    assert parse_multipart("b", form(b"Content-Type: " + content_type + b"\r\n" + part())) == {
        "body": "hi"
    }


def test_the_last_value_of_a_repeated_name_counts() -> None:
    assert parse_multipart("b", form(part(value=b"1"), part(value=b"2"))) == {"body": "2"}


def test_preamble_and_epilogue_of_a_form_are_ignored() -> None:
    assert parse_multipart("b", b"preamble\r\n" + form(part()) + b"epilogue") == {"body": "hi"}


def test_blanks_behind_a_boundary_are_allowed() -> None:
    assert parse_multipart("b", b"--b \t\r\n" + part() + b"\r\n--b--") == {"body": "hi"}


@pytest.mark.parametrize(
    "body",
    [
        b"hi",
        b"--b",
        b"--b\r\n",
        b"--b\r\n" + part(),
        b"--b\r\n" + part() + b"\r\n--b\r\n",
        b"--c\r\n" + part() + b"\r\n--c--\r\n",
        form(b"hi"),
        form(b"\r\nhi"),
        form(b"Content-Disposition: form-data\r\n\r\nhi"),
        form(b"Content-Type: text/plain\r\n\r\nhi"),
        form(part(value=b"\xff")),
        form(part(b'"\xff"')),
        form(part(b'"body')),
        form(part()).replace(b"\r\n", b"\n"),
    ],
    ids=range(14),
)
def test_an_invalid_form_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedBody):
        parse_multipart("b", body)


@pytest.mark.parametrize("boundary", ["", "b" * 71, "é"])
def test_an_invalid_boundary_is_malformed(boundary: str) -> None:
    with pytest.raises(MalformedBody):
        parse_multipart(boundary, form(part()))


def test_a_form_of_too_many_parts_is_invalid() -> None:
    assert parse_multipart("b", form(*[part()] * MAX_PARTS)) == {"body": "hi"}
    with pytest.raises(ValidationFailed):
        parse_multipart("b", form(*[part()] * (MAX_PARTS + 1)))


def test_the_headers_of_all_parts_together_are_bounded() -> None:
    """Each costs little to read, and a hundred of them a hundred times as much."""
    usual = part(
        more=b"; filename=x\r\nContent-Type: image/jpeg\r\nContent-Transfer-Encoding: binary"
    )
    assert parse_multipart("b", form(*[usual] * MAX_PARTS)) == {}
    long = part(more=b";a=b" * (MAX_HEADER_BYTES // 4 // MAX_PARTS))
    assert parse_multipart("b", form(long)) == {"body": "hi"}
    with pytest.raises(MalformedBody, match="headers"):
        parse_multipart("b", form(*[long] * MAX_PARTS))


@pytest.mark.parametrize("quoted", [r"\\", r"\a\\", r"\\\a", r"\\\\a\"", "a", "", "\\"])
def test_a_backslash_stands_for_the_character_behind_it(quoted: str) -> None:
    assert without_backslashes(quoted) == re.sub(r"\\(.?)", r"\1", quoted)


@pytest.mark.parametrize(
    "unit", [b';name="', b'"', b"\\", b";filename", b"; ", b"\r\n", b"x", b":"]
)
def test_every_form_is_parsed_quickly(unit: bytes) -> None:
    # Linear, it takes milliseconds; going back and forth, it took minutes.
    started = time.process_time()
    sent = form(part(more=unit * (1_000_000 // len(unit))))
    with contextlib.suppress(MalformedBody):
        parse_multipart("b", sent)
    assert time.process_time() - started < 10
