"""Forms, content types and sizes: unreadable ones are refused, the others are kept verbatim."""

import time

import pytest

from tests.hostile.conftest import BEFORE, Ground
from tests.hostile.wire import Connection, check_problem, exchange, request

FORM = "Content-Type: application/x-www-form-urlencoded"
MULTIPART = "Content-Type: multipart/form-data; boundary=b"
JSON = b'{"body":"x","name":"x"}'
DISPOSITION = b'Content-Disposition: form-data; name="FIELD"'


def part(value: bytes = b"x", headers: bytes = DISPOSITION) -> bytes:
    return b"--b\r\n" + headers + b"\r\n\r\n" + value + b"\r\n"


UNREADABLE_MULTIPART = {
    "no end": part(),
    "another end": part() + b"--c--\r\n",
    "an end cut short": part() + b"--b-",
    "no parts": b"nothing of the kind",
    "no empty line": b"--b\r\n" + DISPOSITION + b"\r\n--b--\r\n",
    "bare line feeds": (part() + b"--b--\r\n").replace(b"\r\n", b"\n"),
    "no name": part(headers=b"Content-Disposition: form-data") + b"--b--\r\n",
    "no disposition": part(headers=b"Content-Type: text/plain") + b"--b--\r\n",
    "no UTF-8": part(b"\xff\xfe") + b"--b--\r\n",
    "JSON": JSON,
    "empty lines": b"\r\n\r\n\r\n",
}
REFUSED_FORMS = {
    "a file": part(headers=DISPOSITION + b'; filename="x.txt"') + b"--b--\r\n",
    "a file named otherwise": part(headers=DISPOSITION + b"; filename*=UTF-8''x") + b"--b--\r\n",
    "thousands of parts": part() * 5000 + b"--b--\r\n",
    "a form in a form": part(
        b"--c\r\n" + DISPOSITION + b"\r\n\r\nx\r\n--c--",
        b'Content-Disposition: form-data; name="o"\r\nContent-Type: multipart/mixed; boundary=c',
    )
    + b"--b--\r\n",
    "an empty form": b"--b--\r\n",
    "NUL": part(b"a\x00b") + b"--b--\r\n",
    "an empty field": part(b"") + b"--b--\r\n",
    "only white space": part(b" \r\n\t ") + b"--b--\r\n",
    "too long": part(b"x" * 70_000) + b"--b--\r\n",
}
PARTS_IN_OTHER_CHARSETS = [
    b"text/plain; charset=ISO-8859-1",
    b"text/plain;charset=latin1",
    b'text/html; a=b; charset="utf-16"',
    b"TEXT/PLAIN; CHARSET=windows-1252",
]
CONTENT_TYPES = {
    415: [
        *(
            "text/html",
            "text/x-plain",
            "application/xml",
            "application/octet-stream",
            "*/*",
            "json",
        ),
        *("application", "/", "application/jsonx", "application/json, text/plain", "image/png"),
        *("multipart/mixed; boundary=b", "application/grpc", "a" * 8000),
        *("application/x-www-form-urlencoded; charset=iso-8859-1", "text/html; charset=utf-8"),
    ],
    400: [
        *(
            "multipart/form-data",
            "multipart/form-data; boundary=",
            "multipart/form-data; boundary=b",
        ),
        *(
            "multipart/form-data; boundary=" + "b" * 100,
            'multipart/form-data; boundary="b',
            "MULTIPART/FORM-DATA",
        ),
    ],
    200: [
        *("application/json", "APPLICATION/JSON", "application/json;charset=UTF-8", "text/json"),
        *('application/json; charset="utf-8"', "application/vnd.api+json", "application/json;"),
        *(
            "application/json; charset",
            "application/json;;;;",
            "",
            "application/x-www-form-urlencoded",
        ),
        # JSON is UTF-8, whatever charset it is said to have.
        *("application/json; charset=utf-16", 'application/json; charset="latin1"'),
        *("application/json;charset=UTF-8;charset=utf-7", "text/json;charset="),
        *("text/plain", "text/plain;charset=UTF-8", "TEXT/PLAIN; charset=ISO-8859-1"),
        "application/json" + "; a=b" * 2000,
        "application/json; a=" + "\\" * 20_000,
        "application/json; " + "a" * 30_000,
    ],
}


@pytest.mark.parametrize("body", UNREADABLE_MULTIPART.values(), ids=UNREADABLE_MULTIPART)
def test_multipart_that_does_not_follow_its_boundary_is_400(ground: Ground, body: bytes) -> None:
    ground.refuse(
        lambda door: door.send(body.replace(b"FIELD", door.field.encode()), MULTIPART), 400
    )


@pytest.mark.parametrize("body", REFUSED_FORMS.values(), ids=REFUSED_FORMS)
def test_a_form_without_a_valid_field_is_422(ground: Ground, body: bytes) -> None:
    ground.refuse(
        lambda door: door.send(body.replace(b"FIELD", door.field.encode()), MULTIPART), 422
    )


@pytest.mark.parametrize("content_type", PARTS_IN_OTHER_CHARSETS)
def test_a_part_in_another_charset_is_415(ground: Ground, content_type: bytes) -> None:
    headers = DISPOSITION + b"\r\nContent-Type: " + content_type
    form = part(b"caf\xe9", headers) + b"--b--\r\n"
    ground.refuse(
        lambda door: door.send(form.replace(b"FIELD", door.field.encode()), MULTIPART), 415
    )


@pytest.mark.parametrize("body", [b"hello", b'"x"', b"null", b"[]", b"body=x&name=x", b"<b>{}</b>"])
def test_plain_text_that_is_not_a_json_object_is_415(ground: Ground, body: bytes) -> None:
    ground.refuse(lambda door: door.send(body, "Content-Type: text/plain"), 415)


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ("FIELD=%FF", 400),
        ("FIELD=%C3", 400),
        ("FIELD=%ED%A0%80", 400),
        ("other=%FF&FIELD=x", 400),
        ("FIELD", 422),
        ("FIELD=", 422),
        ("=FIELD", 422),
        ("FIELD=+++", 422),
        ("FIELD=%00", 422),
        ("FIELD=a%00b", 422),
        ("FIELD%00=x", 422),
        ("FIELD[]=x&FIELD.a=x", 422),
        ("FIELD=x&FIELD=", 422),
        ("&" * 900, 422),
        ("FIELD=x;other=y&" + "a=b&" * 100_000, 422),
        ("FIELD=" + "%41" * 70_000, 422),
    ],
    ids=lambda it: str(it)[:20],
)
def test_an_invalid_urlencoded_field_is_refused(ground: Ground, form: str, status: int) -> None:
    started = time.monotonic()
    ground.refuse(lambda door: door.send(form.replace("FIELD", door.field).encode(), FORM), status)
    assert time.monotonic() - started < 20


@pytest.mark.parametrize(
    "query", ["FIELD=%FF", "FIELD=", "FIELD=%00", "other=x", "FIELD=%E2%80%83"]
)
def test_a_query_field_is_validated_as_strictly(ground: Ground, query: str) -> None:
    ground.refuse(
        lambda door: door.send(b"", query="?" + query.replace("FIELD", door.field)), 400, 422
    )


@pytest.mark.parametrize(
    ("status", "content_type"),
    [(status, one) for status, them in CONTENT_TYPES.items() for one in them],
    ids=lambda it: str(it)[:40],
)
def test_content_types_are_distinguished(ground: Ground, status: int, content_type: str) -> None:
    started = time.monotonic()
    if status == 200:
        for door in ground.doors.values():
            assert door.send(JSON, f"Content-Type: {content_type}").status == door.accepted
        ground.check_created(1)
        ground.restore()
    else:
        ground.refuse(lambda door: door.send(JSON, f"Content-Type: {content_type}"), status)
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("types", [("text/plain", "application/json"), ("text/plain", "image/png")])
def test_two_content_type_headers_do_no_harm(ground: Ground, types: tuple[str, str]) -> None:
    for door in (ground.doors["edit message"], ground.doors["rename application"]):
        reply = door.send(JSON, *[f"Content-Type: {one}" for one in types])
        assert reply.status in (200, 400, 415)
    ground.restore()


@pytest.mark.parametrize("size", [1024 * 1024 + 1, 4 * 1024 * 1024])
@pytest.mark.parametrize("content_type", ["application/json", "multipart/form-data; boundary=b"])
def test_a_body_over_a_mebibyte_is_413(ground: Ground, size: int, content_type: str) -> None:
    ground.refuse(lambda door: door.send(b" " * size, f"Content-Type: {content_type}"), 413)


def test_endless_chunks_are_cut_off_while_they_arrive(ground: Ground) -> None:
    applications = ground.applications()
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    for door in ground.doors.values():
        head = (
            f"{door.method} {door.path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        with Connection(door.url) as connection:
            reply = connection.send(head.encode() + chunk * 200).read()
        assert reply is not None
        check_problem(reply, 413)
    ground.check_untouched(applications)


@pytest.mark.parametrize("where", ["/health/live", "/nothing", "/metrics"])
def test_an_unread_body_does_no_harm(ground: Ground, where: str) -> None:
    for url in (ground.crud, ground.numbering):
        with Connection(url) as connection:
            for _ in range(3):
                reply = connection.send(request("GET", where, b"x" * 10_000)).read()
                assert reply is not None
                assert reply.status in (200, 404)


def test_refused_input_is_not_echoed(ground: Ground) -> None:
    mark = b"<script>alert(7391)</script>"
    for door in ground.doors.values():
        for body in (b'{"FIELD":' + mark, b'{"FIELD":["' + mark + b'"]}', mark):
            raw = body.replace(b"FIELD", door.field.encode())
            reply = exchange(door.url, request(door.method, door.path, raw))
            check_problem(reply, 400, 422)
            assert b"7391" not in reply.body
    assert ground.api.get(ground.message)["body"] == BEFORE
