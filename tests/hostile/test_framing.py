"""Malformed or ambiguous HTTP is refused, and the connection closed."""

import json
from collections.abc import Callable

import pytest

from tests.hostile.conftest import Ground
from tests.hostile.wire import Connection, Reply, check_problem, exchange, request

JSON = b"Content-Type: application/json\r\n"
GOOD = b'{"body":"x","name":"x"}'
CHUNKED = b"Transfer-Encoding: chunked\r\n"
IN_CHUNKS = b"17\r\n" + GOOD + b"\r\n0\r\n\r\n"
GET = b"GET /health/live HTTP/1.1\r\n"

NO_HTTP = {
    "bytes": b"\x00\x01\x02\xff\r\n\r\n",
    "a TLS hello": bytes.fromhex("1603010200010001fc0303") + b"a" * 200,
    "no version": b"GET /nothing here\r\n\r\n",
    "a version to come": b"GET /health/live HTTP/1.2\r\nHost: x\r\n\r\n",
    "a space in the path": b"GET /health /live HTTP/1.1\r\nHost: x\r\n\r\n",
    "no slash": b"GET health/live HTTP/1.1\r\nHost: x\r\n\r\n",
    "a folded header": GET + b"Host: x\r\nX-A: b\r\n  folded\r\n\r\n",
    "a space before the colon": GET + b"Host : x\r\n\r\n",
    "no colon": GET + b"Host\r\n\r\n",
    "NUL in a header": GET + b"Host: x\r\nX-A: a\x00b\r\n\r\n",
    "a bare CR in a header": GET + b"Host: x\r\nX-Request-ID: a\rSet-Cookie: b\r\n\r\n",
    "a header name of two words": GET + b"Host: x\r\nTwo words: b\r\n\r\n",
}
# Each of these frames the body in a way that two readers could read differently.
AMBIGUOUS = {
    "two lengths": b"Content-Length: 23\r\nContent-Length: 3\r\n\r\n" + GOOD,
    "a list of lengths": b"Content-Length: 23, 23\r\n\r\n" + GOOD,
    "a negative length": b"Content-Length: -1\r\n\r\n" + GOOD,
    "a signed length": b"Content-Length: +23\r\n\r\n" + GOOD,
    "a hexadecimal length": b"Content-Length: 0x17\r\n\r\n" + GOOD,
    "a length in words": b"Content-Length: many\r\n\r\n" + GOOD,
    "no length in the length": b"Content-Length: \r\n\r\n" + GOOD,
    "a length beyond 2^64": b"Content-Length: 99999999999999999999999\r\n\r\n" + GOOD,
    "length and chunks": b"Content-Length: 3\r\n" + CHUNKED + b"\r\nzz\r\n" + GOOD,
    "an unknown coding": b"Transfer-Encoding: xchunked\r\n\r\n" + GOOD,
    "chunks inside": b"Transfer-Encoding: chunked, identity\r\n\r\n" + IN_CHUNKS,
    "identity": b"Content-Length: 23\r\nTransfer-Encoding: identity\r\n\r\n" + GOOD,
    "a chunk of no size": CHUNKED + b"\r\nzz\r\n" + GOOD,
    "a chunk beyond 2^64": CHUNKED + b"\r\nfffffffffffffffff\r\n" + GOOD,
    "a negative chunk": CHUNKED + b"\r\n-1\r\n" + GOOD,
}
# Ways of framing that are rare and right.
UNAMBIGUOUS = {
    "chunks": CHUNKED + b"\r\n" + IN_CHUNKS,
    "chunks with a word": CHUNKED + b"\r\n17;a=b\r\n" + GOOD + b"\r\n0\r\n\r\n",
    "a chunk a byte": CHUNKED
    + b"\r\n"
    + b"".join(b"1\r\n%c\r\n" % byte for byte in GOOD)
    + b"0\r\n\r\n",
    "zeros before a length": b"Content-Length: " + b"0" * 5000 + b"23\r\n\r\n" + GOOD,
    "zeros before a size": CHUNKED + b"\r\n" + b"0" * 10 + IN_CHUNKS,
    "another protocol offered": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    b"HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\nContent-Length: 23\r\n\r\n" + GOOD,
    "a web socket offered": b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Content-Length: 23\r\n\r\n" + GOOD,
    "another protocol in capitals": b"CONNECTION: UPGRADE\r\nUPGRADE: H2C\r\n"
    b"Content-Length: 23\r\n\r\n" + GOOD,
    "a trailer": CHUNKED
    + b"\r\n17\r\n"
    + GOOD
    + b"\r\n0\r\nContent-Type: text/plain\r\nIdempotency-Key: \xff\r\n\r\n",
    "an unknown expectation": b"Expect: the-unexpected\r\nContent-Length: 23\r\n\r\n" + GOOD,
}


def ways_in(ground: Ground) -> list[tuple[str, bytes]]:
    """Address and start of a request of each service."""
    doors = (ground.doors["create message"], ground.doors["edit message"])
    return [
        (door.url, f"{door.method} {door.path} HTTP/1.1\r\nHost: x\r\n".encode() + JSON)
        for door in doors
    ]


def check_refused(reply: Reply) -> None:
    """Check for a problem document on a connection that is then closed."""
    check_problem(reply, 400, 413, 422)
    assert reply.headers["connection"] == "close"
    assert b"x" * 3 not in reply.body


@pytest.mark.parametrize("data", NO_HTTP.values(), ids=NO_HTTP)
def test_malformed_http_is_400_and_ends_the_connection(ground: Ground, data: bytes) -> None:
    applications = ground.applications()
    for url in (ground.crud, ground.numbering):
        with Connection(url) as connection:
            reply = connection.send(data).read()
            assert reply is not None
            check_refused(reply)
            assert connection.ends()
    ground.check_untouched(applications)


@pytest.mark.parametrize("frame", AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_an_ambiguously_framed_body_is_refused_and_ends_the_connection(
    ground: Ground, frame: bytes
) -> None:
    applications = ground.applications()
    for url, head in ways_in(ground):
        with Connection(url) as connection:
            reply = connection.send(head + frame).read()
            assert reply is not None
            check_refused(reply)
            assert connection.ends()
    ground.check_untouched(applications)


@pytest.mark.parametrize("frame", UNAMBIGUOUS.values(), ids=UNAMBIGUOUS)
def test_rare_frames_are_read_and_leave_the_connection_in_order(
    ground: Ground, frame: bytes
) -> None:
    for url, head in ways_in(ground):
        with Connection(url) as connection:
            reply = connection.send(head + frame).read()
            assert reply is not None
            assert reply.status in (200, 201), reply.body
            again = connection.send(request("GET", "/health/live")).read()
            assert again is not None
            assert again.status == 200
    ground.check_created(1)
    ground.restore()


def test_an_http2_preface_does_no_harm(ground: Ground) -> None:
    for url in (ground.crud, ground.numbering):
        with Connection(url) as connection:
            connection.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04")
            assert (reply := connection.read()) is None or reply.status == 400
        assert exchange(url, request("GET", "/health/live")).status == 200


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_an_absolute_address_and_an_old_version_are_understood(
    ground: Ground, version: str
) -> None:
    door = ground.doors["create message"]
    line = f"POST http://elsewhere.example{door.path}?body=x HTTP/{version}\r\n".encode()
    reply = exchange(door.url, line + b"Host: x\r\nContent-Length: 0\r\n\r\n")
    assert reply.number == next(ground.expected)
    assert "elsewhere.example" not in reply.headers["location"]


def numbered(ground: Ground, count: int, body: Callable[[int], str]) -> bytes:
    """Return pipelined requests, each with its position as its id."""
    path = ground.doors["create message"].path
    requests = (
        request("POST", path, json.dumps({"body": body(n)}).encode(), f"X-Request-ID: r{n}")
        for n in range(count)
    )
    return b"".join(requests)


def test_pipelined_requests_are_answered_in_order(ground: Ground) -> None:
    with Connection(ground.numbering) as connection:
        connection.send(numbered(ground, 100, lambda n: f"message {n}"))
        replies = [connection.read() for _ in range(100)]
    numbers = [reply.number for reply in replies if reply is not None]
    assert numbers == [next(ground.expected) for _ in range(100)]
    ids = [reply.headers["x-request-id"] for reply in replies if reply is not None]
    assert ids == [f"r{n}" for n in range(100)]


def test_pipelined_good_and_bad_requests_are_answered_in_order(ground: Ground) -> None:
    """Only the good ones take numbers."""
    with Connection(ground.numbering) as connection:
        connection.send(numbered(ground, 40, lambda n: "" if n % 2 else "x"))
        replies = [connection.read() for _ in range(40)]
    assert [reply and reply.status for reply in replies] == [201, 422] * 20
    numbers = [reply.number for reply in replies[::2] if reply is not None]
    assert numbers == [next(ground.expected) for _ in range(20)]


def test_reads_pipelined_on_crud_are_answered_in_order(ground: Ground) -> None:
    paths = [ground.message, "/nothing", ground.application, f"{ground.chat}/messages/0"] * 5
    with Connection(ground.crud) as connection:
        connection.send(b"".join(request("GET", path) for path in paths))
        replies = [connection.read() for _ in paths]
    assert [reply and reply.status for reply in replies] == [200, 404, 200, 404] * 5


@pytest.mark.parametrize("service", ["crud", "numbering"])
def test_garbage_after_a_request_does_not_lose_its_answer(ground: Ground, service: str) -> None:
    url, head = ways_in(ground)[service == "crud"]
    good = head + b"Content-Length: 23\r\n\r\n" + GOOD
    with Connection(url) as connection:
        reply = connection.send(good + b"\x00\x01 rubbish\r\n\r\n").read()
        assert reply is not None
        assert reply.status in (200, 201)
        assert (rest := connection.read()) is None or rest.status == 400
        assert connection.ends()
    if service == "numbering":
        assert reply.number == next(ground.expected)
    ground.restore()


def test_a_broken_body_after_good_requests_leaves_their_answers_intact(ground: Ground) -> None:
    path = ground.doors["create message"].path
    broken = request("POST", path)[:-2].replace(b"Content-Length: 0\r\n", CHUNKED) + b"\r\nzz\r\n"
    with Connection(ground.numbering) as connection:
        connection.send(numbered(ground, 5, lambda n: "x") + broken)
        numbers = [reply.number for _ in range(5) if (reply := connection.read()) is not None]
        assert (rest := connection.read()) is None or rest.status == 400
    assert numbers == [next(ground.expected) for _ in range(5)]


def test_endless_trailers_are_cut_off(ground: Ground) -> None:
    """Trailers are not part of the body, but count towards its limit."""
    applications = ground.applications()
    door = ground.doors["create message"]
    head = f"POST {door.path} HTTP/1.1\r\nHost: x\r\n".encode() + CHUNKED
    with Connection(door.url) as connection:
        connection.send(head + b"\r\n17\r\n" + GOOD + b"\r\n0\r\n" + b"X-A: b\r\n" * 2_000_000)
        reply = connection.read()
    assert reply is not None
    check_problem(reply, 413)
    ground.check_untouched(applications)


@pytest.mark.parametrize("sent", [b"body=cut", b"name=cut&body=cut"])
def test_a_truncated_body_stores_nothing(ground: Ground, sent: bytes) -> None:
    """Even if the part that arrived is a valid form."""
    applications = ground.applications()
    form = "Content-Type: application/x-www-form-urlencoded"
    for door in ground.doors.values():
        declared = request(door.method, door.path, b"x" * 100, form)[:-100] + sent
        head = f"{door.method} {door.path} HTTP/1.1\r\nHost: x\r\n{form}\r\n".encode() + CHUNKED
        between_chunks = head + b"\r\n%x\r\n%s\r\n" % (len(sent), sent)
        for data in (declared, between_chunks, between_chunks[:-2], between_chunks + b"5\r\nab"):
            with Connection(door.url) as connection:
                connection.send(data).socket.shutdown(1)
                if (reply := connection.read()) is not None:
                    check_problem(reply, 400)
    ground.check_untouched(applications)


def test_a_client_that_closes_its_half_behind_a_request_gets_its_answer(ground: Ground) -> None:
    for door in (ground.doors["create message"], ground.doors["edit message"]):
        with Connection(door.url) as connection:
            connection.send(request(door.method, door.path, GOOD)).socket.shutdown(1)
            reply = connection.read()
            assert reply is not None
            assert reply.status == door.accepted
            assert connection.ends()
    ground.check_created(1)
    ground.restore()


def test_a_client_that_expects_100_gets_it(ground: Ground) -> None:
    for door in (ground.doors["create message"], ground.doors["edit message"]):
        head = request(door.method, door.path, GOOD, JSON.strip(), "Expect: 100-continue")
        with Connection(door.url) as connection:
            go_on = connection.send(head[: -len(GOOD)]).read()
            assert go_on is not None
            assert go_on.status == 100
            reply = connection.send(GOOD).read()
            assert reply is not None
            assert reply.status == door.accepted
    ground.check_created(1)
    ground.restore()


def test_a_client_that_expects_100_for_too_much_is_refused(ground: Ground) -> None:
    applications = ground.applications()
    for door in ground.doors.values():
        head = f"{door.method} {door.path} HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n"
        with Connection(door.url) as connection:
            reply = connection.send(head.encode() + b"Expect: 100-continue\r\n\r\n").read()
            assert reply is not None
            check_problem(reply, 413)
    ground.check_untouched(applications)
