"""All kinds of JSON at every endpoint: malformed JSON is 400, JSON of the wrong type is 422."""

import gzip
import json
import time
import zlib

import pytest

from tests.hostile.conftest import BEFORE, Ground

BOM = b"\xef\xbb\xbf"
GOOD = '{"FIELD":"x"}'

MALFORMED = {
    "NaN": '{"FIELD":NaN}',
    "Infinity": '{"FIELD":-Infinity}',
    "NaN elsewhere": '{"FIELD":"x","other":NaN}',
    "a leading zero": '{"FIELD":"x","other":01}',
    "a lone minus": '{"FIELD":"x","other":-}',
    "hexadecimal": '{"FIELD":"x","other":0x1}',
    "single quotes": "{'FIELD':'x'}",
    "no quotes": '{FIELD:"x"}',
    "a comma too many": '{"FIELD":"x",}',
    "a comma missing": '{"other":1 "FIELD":"x"}',
    "a comment": '{"FIELD":"x"} // y',
    "cut short": '{"FIELD":"x"',
    "cut in the string": '{"FIELD":"x',
    "only white space": " \r\n\t ",
    "white space of no JSON": '\u00a0{"FIELD":"x"}',
    "something behind": '{"FIELD":"x"} x',
    "two documents": '{"FIELD":"x"}{"FIELD":"y"}',
    "two lines of documents": '{"FIELD":"x"}\n{"FIELD":"y"}\n',
    "two byte order marks": BOM + BOM + GOOD.encode(),
    "a byte order mark behind": GOOD.encode() + BOM,
    "UTF-16": GOOD.encode("utf-16"),
    "UTF-16 without a mark": GOOD.encode("utf-16-le"),
    "UTF-32": GOOD.encode("utf-32-be"),
    "Latin-1": '{"FIELD":"é"}'.encode("latin-1"),
    "an overlong slash": b'{"FIELD":"\xc0\xaf"}',
    "an overlong NUL": b'{"FIELD":"\xc0\x80"}',
    "a raw lone surrogate": b'{"FIELD":"\xed\xa0\x80"}',
    "raw surrogates in a pair": b'{"FIELD":"\xed\xa0\xbd\xed\xb8\x80"}',
    "beyond Unicode": b'{"FIELD":"\xf4\x90\x80\x80"}',
    "a cut character": b'{"FIELD":"\xf0\x9f\x98"}',
    "an escaped high surrogate": r'{"FIELD":"\ud800"}',
    "an escaped low surrogate": r'{"FIELD":"\udc00"}',
    "surrogates the wrong way round": r'{"FIELD":"\udc00\ud800"}',
    "a surrogate in a name": r'{"FIELD":"x","\ud800":1}',
    "a raw NUL": b'{"FIELD":"a\x00b"}',
    "a raw NUL behind": b'{"FIELD":"x"}\x00',
    "a raw line break": b'{"FIELD":"a\nb"}',
    "an unknown escape": r'{"FIELD":"\x41"}',
    "a cut escape": r'{"FIELD":"\u12"}',
    "deep arrays": '{"FIELD":' + "[" * 100_000,
    "deep and complete": '{"FIELD":"x","o":' + "[" * 100_000 + "]" * 100_000 + "}",
    "deep objects": '{"o":' * 20_000 + "1" + "}" * 20_000,
    "gzip without a word of it": gzip.compress(GOOD.encode(), mtime=0),
}
WRONG = {
    "no members": "{}",
    "a string": '"x"',
    "a number": "1",
    "true": "true",
    "null": "null",
    "an array": "[]",
    "an object in an array": '[{"FIELD":"x"}]',
    "null in the field": '{"FIELD":null}',
    "true in the field": '{"FIELD":true}',
    "an integer": '{"FIELD":1}',
    "a float": '{"FIELD":1.5e3}',
    "an array in the field": '{"FIELD":["x"]}',
    "the field in the field": '{"FIELD":{"FIELD":"x"}}',
    "the last one of two is null": '{"FIELD":"x","FIELD":null}',
    "capitals": '{"Field":"x","BODY":"x","NAME":"x"}',
    "a name with a space": '{"FIELD ":"x"}',
    "empty": '{"FIELD":""}',
    "spaces": '{"FIELD":"   "}',
    "escaped white space": r'{"FIELD":"\t\r\n\u00a0\u2003\u3000\u2028"}',
    "U+0000": r'{"FIELD":"\u0000"}',
    "U+0000 in the middle": r'{"FIELD":"a\u0000b"}',
    "U+0000 at the end": r'{"FIELD":"a\u0000"}',
    "a byte too long": json.dumps({"FIELD": "é" * 32_768 + "x"}),
    "much too long": json.dumps({"FIELD": "x" * 900_000}),
}
# Numbers that a double cannot hold: whether they are JSON is up to the parser.
HUGE_NUMBERS = ['{"FIELD":1e999}', '{"FIELD":' + "9" * 5000 + "}", '{"FIELD":0.' + "1" * 5000 + "}"]
ODD_BUT_GOOD = {
    '{"FIELD":"x","FIELD":"last"}': "last",
    '{"FIELD":null,"FIELD":"last"}': "last",
    r'{"\u0062ody":"x","\u006eame":"x"}': "x",
    '{"__proto__":{"FIELD":1},"FIELD":"x"}': "x",
    '{"other":[[[{"FIELD":"no"}]]],"FIELD":"x"}': "x",
    '{"FIELD":"x","other":1e308,"more":-0,"most":18446744073709551615}': "x",
    '{"":"","FIELD":"x"}': "x",
    r'{"FIELD":"\ud83d\ude00\/\b\f\u007f\uffff"}': "😀/\b\f\x7f\uffff",
    '{"FIELD":"\u2028\u202e\ufeff\U0010ffff"}': "\u2028\u202e\ufeff\U0010ffff",
    '{"FIELD":"null"}': "null",
    '\ufeff{"FIELD":"x"}': "x",
    '\ufeff {"FIELD":"\ufeffx"}': "\ufeffx",
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
def test_malformed_json_is_400_and_does_nothing(ground: Ground, body: bytes | str) -> None:
    ground.refuse(lambda door: door.send_json(body), 400)


@pytest.mark.parametrize("body", WRONG.values(), ids=WRONG)
def test_json_of_the_wrong_kind_is_422_and_does_nothing(ground: Ground, body: str) -> None:
    ground.refuse(lambda door: door.send_json(body), 422)


@pytest.mark.parametrize("body", HUGE_NUMBERS, ids=["infinite", "long", "precise"])
def test_numbers_of_any_size_are_never_a_500(ground: Ground, body: str) -> None:
    ground.refuse(lambda door: door.send_json(body), 400, 422)


@pytest.mark.parametrize(("body", "kept"), ODD_BUT_GOOD.items())
def test_odd_json_means_what_the_standard_says(ground: Ground, body: str, kept: str) -> None:
    try:
        for door in ground.doors.values():
            assert door.send_json(body).status == door.accepted
        ground.check_created(1)
        assert ground.api.get(ground.message)["body"] == kept
        assert ground.api.get(ground.application)["name"] == kept
    finally:
        ground.restore()


@pytest.mark.parametrize(
    "body", [body for name, body in MALFORMED.items() if name != "only white space"]
)
def test_creating_a_chat_needs_no_field_but_refuses_malformed_json(
    ground: Ground, body: bytes | str
) -> None:
    before = ground.api.chat(ground.application)
    door = ground.doors["create message"]
    chats = type(door)(door.url, "POST", f"{ground.application}/chats", "name", 201)
    assert chats.send_json(body).status == 400
    after = ground.api.chat(ground.application)
    assert int(after.rpartition("/")[2]) == int(before.rpartition("/")[2]) + 1


@pytest.mark.parametrize("body", ["", "null", '""', "{}", " null ", "\ufeffnull"])
@pytest.mark.parametrize("content_type", ["application/json", "text/plain;charset=UTF-8", ""])
def test_an_empty_or_null_body_creates_a_chat(ground: Ground, body: str, content_type: str) -> None:
    url = f"{ground.numbering}{ground.application}/chats"
    headers = {"Content-Type": content_type} if content_type else {}
    answer = ground.api.client.post(url, content=body.encode(), headers=headers)
    assert answer.status_code == 201, answer.text


BOMB = gzip.compress(b'{"FIELD":"' + b"x" * 20_000_000 + b'"}')


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(GOOD.encode(), mtime=0)),
        ("x-gzip", gzip.compress(GOOD.encode(), mtime=0)),
        ("deflate", zlib.compress(GOOD.encode())),
        ("br", b"\x0b\x05\x80x\x03"),
        ("zstd", b"\x28\xb5\x2f\xfd"),
        ("gzip, identity", gzip.compress(GOOD.encode(), mtime=0)),
        ("identity, gzip", gzip.compress(GOOD.encode(), mtime=0)),
        ("GZIP", GOOD.encode()),
        ("junk", GOOD.encode()),
        ("gzip", BOMB),
    ],
)
def test_a_compressed_body_is_415_and_never_decompressed(
    ground: Ground, encoding: str, body: bytes
) -> None:
    started = time.monotonic()
    lines = ("Content-Type: application/json", f"Content-Encoding: {encoding}")
    ground.refuse(lambda door: door.send(body, *lines), 415)
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("encoding", ["identity", "IDENTITY", " identity "])
def test_the_identity_encoding_is_accepted_in_any_case(ground: Ground, encoding: str) -> None:
    door = ground.doors["edit message"]
    body = json.dumps({"body": BEFORE}).encode()
    assert door.send(body, f"Content-Encoding: {encoding}").status == 200
