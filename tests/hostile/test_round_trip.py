"""Texts round-trip verbatim however they were sent, and are found by their parts."""

import json
from collections.abc import Callable
from urllib.parse import quote, quote_plus, urlencode

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local_stack.ports import PLAIN_HTTP
from tests.hostile.conftest import Door, Ground
from tests.hostile.wire import Reply
from tests.polling import eventually
from web.characters import is_blank

FORM = "Content-Type: application/x-www-form-urlencoded"
ANY = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
PLANES = st.sampled_from(
    'aÀé\u0301ßİ\u202e\u200d\ufeff\ufffd\r\n\t\x01\x7f\x85\u2028😀\U0010ffff漢가"\\&=+%;'
)
TEXTS = st.text(ANY | PLANES, min_size=1, max_size=60).filter(lambda text: not is_blank(text))
LONG = st.text(PLANES, min_size=1, max_size=4).map(lambda text: "x" + text * 4000)

Way = Callable[[Door, str], Reply]


def as_json(door: Door, text: str) -> Reply:
    body = json.dumps({door.field: text}, ensure_ascii=False)
    return door.send(body.encode(), "Content-Type: application/json")


def as_escaped_json(door: Door, text: str) -> Reply:
    return door.send(json.dumps({door.field: text}).encode())


def as_curls_json(door: Door, text: str) -> Reply:
    return door.send(b" " + json.dumps({door.field: text}).encode(), FORM)


def as_form(door: Door, text: str) -> Reply:
    return door.send(urlencode({door.field: text}).encode(), FORM)


def as_form_all_escaped(door: Door, text: str) -> Reply:
    escaped = "".join(f"%{byte:02x}" for byte in text.encode())
    return door.send(f"{door.field}={escaped}".encode(), FORM)


def as_multipart(door: Door, text: str) -> Reply:
    head = f'--q8\r\nContent-Disposition: form-data; name="{door.field}"\r\n\r\n'
    body = head.encode() + text.encode() + b"\r\n--q8--\r\n"
    return door.send(body, "Content-Type: multipart/form-data; boundary=q8")


def as_query(door: Door, text: str) -> Reply:
    quoted = (quote_plus if len(text) % 2 else quote)(text, safe="")
    return door.send(b"", query=f"?{door.field}={quoted}")


WAYS = (as_json, as_escaped_json, as_curls_json, as_form, as_form_all_escaped, as_multipart)


def bounded(examples: int) -> settings:
    """Return settings for a fixed, limited set of examples."""
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@pytest.mark.parametrize("way", [*WAYS, as_query], ids=lambda way: way.__name__)
@bounded(25)
@given(text=TEXTS)
def test_a_text_round_trips(ground: Ground, way: Way, text: str) -> None:
    try:
        assert way(ground.doors["edit message"], text).status == 200
        assert ground.api.get(ground.message)["body"] == text
        assert way(ground.doors["rename application"], text).status == 200
        assert ground.api.get(ground.application)["name"] == text
    finally:
        ground.restore()


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@bounded(5)
@given(text=LONG)
def test_a_long_text_round_trips(ground: Ground, way: Way, text: str) -> None:
    text = text.encode()[:65_536].decode(errors="ignore")
    try:
        assert way(ground.doors["edit message"], text).status == 200
        assert ground.api.get(ground.message)["body"] == text
    finally:
        ground.restore()


@bounded(1)
@given(texts=st.lists(TEXTS, min_size=60, max_size=60))
def test_a_created_text_is_stored_verbatim_and_found_by_its_parts(
    ground: Ground, texts: list[str]
) -> None:
    ways = [*WAYS, as_query]
    chat = ground.api.chat(ground.application)
    door = Door(ground.numbering, "POST", f"{chat}/messages", "body", 201)
    numbers = [ways[n % len(ways)](door, text).number for n, text in enumerate(texts)]
    assert numbers == list(range(1, len(texts) + 1))
    ground.api.wait_for_numbers(f"{chat}/messages", numbers)
    stored = {item["number"]: item["body"] for item in ground.api.get(f"{chat}/messages")}
    assert stored == dict(zip(numbers, texts, strict=True))
    # Messages are indexed in order; an older one of the same text must not stand for the last.
    last = search(chat, texts[-1])
    eventually(lambda: numbers[-1] in ground.api.numbers(last), bool, 30)
    for number, text in zip(numbers, texts, strict=True):
        for part in (text, text[: len(text) // 2], text[len(text) // 3 :]):
            if not is_blank(part):
                assert number in ground.api.numbers(search(chat, part)), ascii(part)


def search(chat: str, keyword: str) -> str:
    """Return the path of a search."""
    return f"{chat}/messages/search?limit=1000&keyword={quote(keyword, safe='')}"


@pytest.mark.parametrize("text", ["x" * 255, "🙂" * 255, "e\u0301" * 127 + "x"])
def test_the_longest_names_round_trip(ground: Ground, text: str) -> None:
    try:
        for way in [*WAYS, as_query]:
            assert way(ground.doors["rename application"], text).status == 200
            assert ground.api.get(ground.application)["name"] == text
            assert way(ground.doors["rename application"], text + "x").status == 422
    finally:
        ground.restore()


def test_a_form_from_a_library_round_trips(ground: Ground) -> None:
    """As common client libraries send it."""
    text = ' ünï\r\ncode 🙂 "&=+%\\ '
    url = f"{ground.crud}{ground.message}"
    with httpx.Client(timeout=60, **PLAIN_HTTP) as client:
        ways = ({"json": {"body": text}}, {"data": {"body": text}}, {"params": {"body": text}})
        for sent in ways:
            assert client.put(url, **sent).json()["body"] == text
        parts = {"body": (None, text), "a_file": ("x.bin", b"\xff\x00")}
        assert client.put(url, files={"body": (None, text)}).json()["body"] == text
        assert client.put(url, files=parts).json()["body"] == text
    ground.restore()
