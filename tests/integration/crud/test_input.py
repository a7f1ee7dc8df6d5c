"""Input: where fields may be, what they may contain, and the error for each mistake."""

from typing import Any

import httpx
import pytest

from tests.integration.crud_rows import Database, add_chat_of
from tests.largest_message import LARGEST_FORM, LARGEST_MESSAGE
from web.fields import MAX_BODY_BYTES

FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=b"


def part(name: str, value: str) -> bytes:
    head = f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'
    return f"{head}{value}\r\n--b--\r\n".encode()


@pytest.fixture
def message(database: Database, application: str) -> str:
    return f"{add_chat_of(database, application, 1, 'before')}/messages/1"


def put(http: httpx.Client, path: str, content: bytes, content_type: str | None) -> httpx.Response:
    headers = {} if content_type is None else {"Content-Type": content_type}
    return http.put(path, content=content, headers=headers)


@pytest.mark.parametrize(
    ("content_type", "content"),
    [
        ("application/json", b'{"name":"g\xc3\xbcn"}'),
        ("application/json; charset=utf-8", b' {"unknown": [1], "name": "g\\u00fcn"} '),
        ("application/merge-patch+json", b'{"name":"g\xc3\xbcn"}'),
        ("application/json; charset=us-ascii", b'\xef\xbb\xbf{"name":"g\xc3\xbcn"}'),
        ("text/plain; charset=ISO-8859-1", b'{"name":"g\xc3\xbcn"}'),
        (None, b'{"name":"g\xc3\xbcn"}'),
        (FORM, b'{"name":"g\xc3\xbcn"}'),
        (FORM, b"name=g%C3%BCn&other=1"),
        (MULTIPART, part("name", "gün")),
    ],
)
def test_a_field_is_read_from_any_kind_of_body(
    http: httpx.Client, application: str, content_type: str | None, content: bytes
) -> None:
    answer = put(http, application, content, content_type)
    assert (answer.status_code, answer.json().get("name")) == (200, "gün")


def test_a_field_missing_in_the_body_is_read_from_the_query_string(
    http: httpx.Client, application: str
) -> None:
    assert http.put(f"{application}?name=from+query").json()["name"] == "from query"
    both = http.put(f"{application}?name=query", json={"name": "body"})
    assert both.json()["name"] == "body"
    assert http.post("/applications?name=x").status_code == 201


@pytest.mark.parametrize(
    "text",
    [" x ", "\n\t\r\nx", "مرحبا", "e\u0301", "👩‍👩‍👧", "\ufeffx", "\x01x", "<b>&", "x" * 65_536],
)
def test_a_body_is_kept_verbatim(http: httpx.Client, message: str, text: str) -> None:
    assert http.put(message, json={"body": text}).status_code == 200
    assert http.get(message).json()["body"] == text


def test_the_largest_message_is_kept_too(http: httpx.Client, message: str) -> None:
    """A PUT reads no sender, but its client may send one."""
    kept = http.put(message, json=LARGEST_MESSAGE).json()
    assert (kept["body"], kept["metadata"]) == (
        LARGEST_MESSAGE["body"],
        LARGEST_MESSAGE["metadata"],
    )
    assert http.put(message, data=LARGEST_FORM).json()["body"] == LARGEST_FORM["body"]


@pytest.mark.parametrize(
    ("content_type", "content"),
    [
        ("application/json", b'{"body": '),
        ("application/json", b'{"body": NaN}'),
        ("application/json", b'{"body": "\xff"}'),
        ("application/json", b'{"body": "\\ud800"}'),
        ("application/json", b'{"body":' + b"[" * 100_000),
        (FORM, b"body=%FF"),
        (MULTIPART, b"--b\r\nno end"),
        ("multipart/form-data", part("body", "x")),
    ],
)
def test_a_body_that_cannot_be_parsed_is_400(
    http: httpx.Client, message: str, content_type: str, content: bytes
) -> None:
    answer = put(http, message, content, content_type)
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_body")


def test_an_unknown_parameter_is_ignored_whatever_it_holds(
    http: httpx.Client, application: str, message: str
) -> None:
    unknown = "utm=%ff&%ff=%ff&name=%ff"
    chat, messages = message.rpartition("/messages/")[0], message.rpartition("/")[0]
    lists = ("/applications", f"{application}/chats", messages)
    for path in (application, chat, message, *lists, f"{messages}/search?keyword=x"):
        query = "&" if "?" in path else "?"
        assert http.get(f"{path}{query}{unknown}").status_code == 200, path
    for path, fields in ((application, {"name": "x"}), (message, {"body": "x"})):
        assert http.put(f"{path}?{unknown}", json=fields).status_code == 200, path
    assert http.put(f"{chat}?{unknown}", json={"name": "x"}).status_code == 200
    assert http.put(f"{chat}?{unknown}", json={"metadata": {}}).status_code == 400


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"Body": "x"},
        {"body": None},
        {"body": 1},
        {"body": ["x"]},
        {"body": ""},
        {"body": " \t\n\u2003"},
        {"body": "a\x00b"},
        {"body": "é" * (MAX_BODY_BYTES // 2 + 1)},
    ],
)
def test_an_invalid_field_is_422_and_named(
    http: httpx.Client, message: str, fields: dict[str, Any]
) -> None:
    answer = http.put(message, json=fields)
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")
    assert answer.json()["errors"][0]["field"] == "body"
    assert http.get(message).json()["body"] == "before"


@pytest.mark.parametrize("content", [b"[]", b'"x"', b"1", b"null", b"true"])
def test_json_that_is_not_an_object_is_422(
    http: httpx.Client, message: str, content: bytes
) -> None:
    assert put(http, message, content, "application/json").status_code == 422


def test_a_name_has_at_most_255_characters(http: httpx.Client) -> None:
    assert http.post("/applications", json={"name": "🙂" * 255}).status_code == 201
    assert http.post("/applications", json={"name": "x" * 256}).status_code == 422


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/html"},
        {"Content-Type": f"{FORM}; charset=latin-1"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ],
)
def test_a_body_of_an_unsupported_type_is_415(
    http: httpx.Client, message: str, headers: dict[str, str]
) -> None:
    answer = http.put(message, content=b'{"body":"x"}', headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")
