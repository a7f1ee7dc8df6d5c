"""Parsing a request never blocks the event loop for long, whatever its megabyte consists of."""

import json
import random
import re
import tracemalloc
from collections.abc import Callable
from time import process_time
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numbering_service.creations.attributes import message_fields
from numbering_service.main import NumberingService
from numbering_service.settings import Settings
from web.fields import (
    MAX_BODY_BYTES,
    MAX_MARKS,
    MAX_REQUEST_BYTES,
    MISSING,
    URLENCODED,
    check_message_body,
    check_sender,
    marks_of,
    unquote,
)
from web.media_types import parameter_of
from web.problems import MAX_INSTANCE, MalformedBody, NotFound, Problem, ValidationFailed
from web.server.head import LONGEST_PATH, decode_path, is_host

MULTIPART = "multipart/form-data; boundary=x"
PART = b"--x\r\nContent-Disposition: form-data; name=body"
COSTLY = {
    "escapes": (URLENCODED, b"body=" + b"%41" * (MAX_REQUEST_BYTES // 3)),
    "escapes apart": (URLENCODED, b"body=" + b"%41a" * (MAX_REQUEST_BYTES // 4)),
    "lone percent signs": (URLENCODED, b"body=" + b"%" * (MAX_REQUEST_BYTES - 5)),
    "escapes in many pairs": (URLENCODED, b"&".join([b"%41" * 340 + b"="] * 999)),
    "arrays": ("application/json", b'{"x":[' + b"[]," * (MAX_REQUEST_BYTES // 3) + b"1]}"),
    "objects": ("application/json", b'{"x":[' + b'{"a":{}},' * (MAX_REQUEST_BYTES // 9) + b"1]}"),
    "headers of a part": (
        MULTIPART,
        PART + b"\r\na:" * (MAX_REQUEST_BYTES // 4) + b"\r\n\r\nv\r\n--x--",
    ),
    "parameters of a part": (
        MULTIPART,
        PART + b"; " * (MAX_REQUEST_BYTES // 2) + b"\r\n\r\nv\r\n--x--",
    ),
}

# A header of 60 KB, from which very much can be made.
PARAMETERS = "".join(f";{number:x}=a" for number in range(10_000))
HEADERS: dict[str, Callable[[str], object]] = {
    "the parameters of a content type": lambda text: parameter_of(text, "1f"),
    "a host": lambda text: is_host(text.encode()),
}


def find_body(content_type: str, body: bytes) -> object:
    return message_fields(content_type, body, b"").get("body", MISSING)


@pytest.mark.parametrize("kind", COSTLY)
def test_a_megabyte_of_anything_is_parsed_or_refused_within_milliseconds(kind: str) -> None:
    content_type, body = COSTLY[kind]
    seconds = []
    for _ in range(5):
        started = process_time()
        try:
            find_body(content_type, body)
        except Problem as problem:
            assert problem.status in {400, 422}  # noqa: PT017 - either, or none, will do
        seconds.append(process_time() - started)
    assert min(seconds) < 0.05


def test_a_body_that_consists_of_brackets_or_percent_signs_is_read() -> None:
    brackets, signs = "[{" * (MAX_BODY_BYTES // 2), "%" * MAX_BODY_BYTES
    assert find_body("application/json", json.dumps({"body": brackets}).encode()) == brackets
    for sign in (b"%", b"%25"):
        assert find_body(URLENCODED, b"body=" + sign * MAX_BODY_BYTES) == signs


def test_input_that_takes_long_to_parse_is_refused() -> None:
    for kind in ("objects", "headers of a part"):
        with pytest.raises(MalformedBody):
            find_body(*COSTLY[kind])
    with pytest.raises(ValidationFailed):
        find_body(*COSTLY["lone percent signs"])


def test_a_form_may_consist_of_equals_signs_but_for_a_megabyte() -> None:
    signs = "=" * MAX_BODY_BYTES
    assert find_body(URLENCODED, b"body=%" + signs[:-1].encode()) == "%" + signs[:-1]
    with pytest.raises(ValidationFailed, match="equals"):
        find_body(URLENCODED, b"other=%" + 2 * signs.encode())


@pytest.mark.parametrize("check", [check_message_body, check_sender])
def test_what_is_too_long_is_not_searched_for_what_can_be_seen(
    check: Callable[[object], str],
) -> None:
    with pytest.raises(ValidationFailed, match="at most"):
        check(" " * (MAX_BODY_BYTES + 1))


def test_a_path_that_is_too_long_is_not_decoded() -> None:
    assert decode_path(b"/%41%ff%C3%A9") == "/A%FF\u00e9"
    assert decode_path(b"/%41%2F%2f%252F") == "/A%2F%2f%2F"
    assert decode_path(b"/%41" * (LONGEST_PATH // 4)) == "/A" * (LONGEST_PATH // 4)
    assert decode_path(b"/%41" * LONGEST_PATH) == "/%41" * LONGEST_PATH


def test_no_more_of_a_path_is_escaped_than_a_problem_shows() -> None:
    class Path(str):
        def encode(self, *_: object) -> bytes:
            raise AssertionError("the whole path")

    instance = NotFound().document(Path("\u00e9" * 60_000), "")["instance"]
    assert instance == ("%C3%A9" * 86)[:MAX_INSTANCE]


def test_input_of_many_values_is_refused() -> None:
    for value in (b"1,", b'"",', b"[],", b'"a":0,'):
        body = b'{"x":[' + value * MAX_MARKS + b"0]}"
        with pytest.raises(MalformedBody, match="commas"):
            find_body("application/json", body)


@given(st.lists(st.sampled_from([*'[{:,"\\', '\\"', r"\\", "a", '"b"', '"[,"']), max_size=12))
def test_marks_within_texts_do_not_count(pieces: list[str]) -> None:
    value = [{"".join(pieces): "".join(pieces)}, 1.5]
    text = json.dumps(value)
    outside = re.sub(r'"(?:[^"\\]|\\.)*"', '""', text)
    quotes = outside.count('"')
    assert marks_of(text.encode(), quotes) == sum(outside.count(mark) for mark in '[{:,"')


def test_the_openapi_document_is_made_before_the_first_request() -> None:
    assert NumberingService(Settings.from_env({})).api.openapi_schema is not None


def test_escapes_are_decoded_as_urllib_decodes_them() -> None:
    chance = random.Random(1)
    pieces = [b"%", b"%4", b"%41", b"%c3%A9", b"%%", b"%3D", b"=", b"==", b"=41", b"\n", b"\r\n"]
    pieces += [b"%\n", b"=\n", b" ", b"_", b"a", b"\x00", b"\xff", b"%0D%0A", b"%zz", b"%25"]
    for _ in range(20_000):
        text = b"".join(chance.choices(pieces, k=chance.randrange(12)))
        assert unquote(text) == unquote_to_bytes(text), text


@pytest.mark.parametrize("kind", HEADERS)
def test_nothing_is_kept_of_long_headers(kind: str) -> None:
    tracemalloc.start()
    for number in range(20):
        HEADERS[kind](f"{number}{PARAMETERS}")
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 10 * len(PARAMETERS)  # of 20 headers
