"""Requests that are easily read in two ways, and the one right reading of each."""

from typing import NamedTuple

HOST = b"Host: x\r\n"
INNER = b"POST /stolen HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"


class Case(NamedTuple):
    """Bytes on a connection, and what an application is asked: method, target and body of each."""

    raw: bytes
    requests: tuple[tuple[str, bytes, bytes], ...]
    statuses: tuple[int, ...] = (200,)
    is_open: bool = True  # for another request behind


def post(body: bytes, *lines: bytes, target: bytes = b"/a") -> bytes:
    head = [b"POST %s HTTP/1.1" % target, b"Host: x", b"Content-Length: %d" % len(body), *lines]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def chunked(body: bytes, *, extension: bytes = b"", trailers: bytes = b"") -> bytes:
    head = b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    cut = len(body) // 2
    pieces = (body[:cut], body[cut:])
    chunks = b"".join(b"%x%s\r\n%s\r\n" % (len(piece), extension, piece) for piece in pieces)
    return head + chunks + b"0\r\n" + trailers + b"\r\n"


def one(raw: bytes, body: bytes, *, is_open: bool = True) -> Case:
    return Case(raw, (("POST", b"/a", body),), is_open=is_open)


def refused(raw: bytes, status: int = 400) -> Case:
    return Case(raw, (), (status,), is_open=False)


UPGRADE = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk")
FORM = b"body=Hello,\r\nUpgrade: your plan"

ACCEPTED = {
    "a body by its length": one(post(b"hello"), b"hello"),
    "no body": one(post(b""), b""),
    "a body that is a request": one(post(INNER), INNER),
    "an upgrade with a body that is a request": one(post(INNER, *UPGRADE), INNER),
    "a web socket with a body": one(
        post(INNER, b"Connection: upgrade", b"UPGRADE: websocket"), INNER
    ),
    "an upgrade in mixed case": one(post(INNER, b"connection: uPGrade", b"uPGrade: x"), INNER),
    "a body with a line that is a header": one(post(FORM), FORM),
    "a body that begins with the end of a head": one(
        post(b"\r\n\r\n" + INNER), b"\r\n\r\n" + INNER
    ),
    "chunks": one(chunked(b"hello world"), b"hello world"),
    "chunks that are requests": one(chunked(INNER), INNER),
    "chunks with extensions": one(chunked(INNER, extension=b';a="b"; c'), INNER),
    "chunks with trailers": one(
        chunked(INNER, trailers=b"Content-Length: 5\r\nX-A: \xff\r\n"), INNER
    ),
    "zeros before a length": one(
        post(INNER).replace(b"-Length: ", b"-Length: 000000000000000000000000", 1), INNER
    ),
    "an expectation": one(post(INNER, b"Expect: 100-continue"), INNER),
    "an unknown expectation": one(post(INNER, b"Expect: the-unexpected"), INNER),
    "an empty line in front": one(b"\r\n\r\n" + post(INNER), INNER),
    "an old version": one(post(INNER).replace(b"HTTP/1.1", b"HTTP/1.0", 1), INNER, is_open=False),
    "an old version that stays": one(
        post(INNER, b"Connection: keep-alive").replace(b"HTTP/1.1", b"HTTP/1.0", 1), INNER
    ),
    "the last request": one(post(INNER, b"Connection: close"), INNER, is_open=False),
    "the last request, by one line of two": one(
        post(INNER, b"Connection: close", b"Connection: keep-alive"), INNER, is_open=False
    ),
    "the last of an old version, by one line of two": one(
        post(INNER, b"Connection: close", b"Connection: keep-alive").replace(b"/1.1", b"/1.0", 1),
        INNER,
        is_open=False,
    ),
    "raw UTF-8 in the target": Case(
        post(b"", target="/東?k=é".encode()), (("POST", b"/%E6%9D%B1?k=%C3%A9", b""),)
    ),
    "an absolute address": Case(
        post(b"x", target=b"http://elsewhere.example/b?c=d"), (("POST", b"/b?c=d", b"x"),)
    ),
    "an unknown method": Case(post(b"x").replace(b"POST", b"BREW"), (("BREW", b"/a", b"x"),)),
    "CONNECT": Case(post(b"x").replace(b"POST", b"CONNECT"), (("CONNECT", b"/a", b"x"),)),
    "HEAD": Case(b"HEAD /h HTTP/1.1\r\n" + HOST + b"\r\n", (("HEAD", b"/h", b""),)),
    "GET with a body": Case(post(INNER).replace(b"POST", b"GET", 1), (("GET", b"/a", INNER),)),
    "two requests": Case(
        post(b"one") + post(b"two", *UPGRADE),
        (("POST", b"/a", b"one"), ("POST", b"/a", b"two")),
        (200, 200),
    ),
    "chunks, then a length": Case(
        chunked(INNER, trailers=b"A: b\r\n") + post(INNER),
        (("POST", b"/a", INNER), ("POST", b"/a", INNER)),
        (200, 200),
    ),
}

REFUSED = {
    "no host": refused(post(b"x").replace(HOST, b"")),
    "two hosts": refused(post(b"x", b"Host: y")),
    "a host of two words": refused(post(b"x").replace(b"Host: x", b"Host: x y")),
    "two lengths": refused(post(b"x", b"Content-Length: 2")),
    "the same length twice": refused(post(b"x", b"Content-Length: 1")),
    "a list of lengths": refused(post(b"x").replace(b": 1\r\n", b": 1, 1\r\n")),
    "a negative length": refused(post(b"x").replace(b": 1\r\n", b": -1\r\n")),
    "no length in the length": refused(post(b"x").replace(b": 1\r\n", b":\r\n")),
    "length and chunks": refused(chunked(b"x").replace(HOST, HOST + b"Content-Length: 3\r\n")),
    "an unknown coding": refused(chunked(b"x").replace(b"chunked", b"gzip, chunked")),
    "chunks twice": refused(chunked(b"x").replace(b"chunked", b"chunked, chunked")),
    "two codings": refused(chunked(b"x").replace(HOST, HOST + b"Transfer-Encoding: chunked\r\n")),
    "chunks in an old version": refused(chunked(b"x").replace(b"/1.1", b"/1.0")),
    "a folded header": refused(post(b"x", b"X-A: b", b"  c")),
    "a space before the colon": refused(post(b"x").replace(b"Length:", b"Length :")),
    "no colon": refused(post(b"x", b"nothing")),
    "a header name of two words": refused(post(b"x", b"Two words: b")),
    "NUL in a header": refused(post(b"x", b"X-A: \x00")),
    "a bare CR in a header": refused(post(b"x", b"X-A: a\rB: c")),
    "a bare LF in a header": refused(post(b"x", b"X-A: a\nB: c")),
    "a bare LF in a target": refused(post(b"x").replace(b"/a ", b"/a\nX-A:b ")),
    "bare LF everywhere": refused(post(b"").replace(b"\r\n", b"\n")),
    "no version": refused(b"GET /a\r\n" + HOST + b"\r\n"),
    "a version to come": refused(post(b"x").replace(b"/1.1", b"/1.2")),
    "a second space": refused(post(b"x").replace(b"/a ", b"/a  ")),
    "no slash": refused(post(b"x").replace(b"/a ", b"a ")),
    "a method in small letters": refused(post(b"x").replace(b"POST", b"post")),
    "an empty line and a half": refused(b"\r\n\n" + post(b"x")),
    "a chunk of no size": refused(chunked(b"xy").replace(b"\r\n1\r\n", b"\r\n\r\n", 1)),
    "a size in words": refused(chunked(b"xy").replace(b"\r\n1\r\n", b"\r\none\r\n", 1)),
    "a signed size": refused(chunked(b"xy").replace(b"\r\n1\r\n", b"\r\n+1\r\n", 1)),
    "a hexadecimal prefix": refused(chunked(b"xy").replace(b"\r\n1\r\n", b"\r\n0x1\r\n", 1)),
    "a space behind a size": refused(chunked(b"xy").replace(b"\r\n1\r\n", b"\r\n1 \r\n", 1)),
    "a size beyond 2^64": refused(
        chunked(b"xy").replace(b"\r\n1\r\n", b"\r\nfffffffffffffffff\r\n", 1)
    ),
    "a chunk that is longer than its size": refused(chunked(b"qy").replace(b"q\r\n", b"qq\r\n")),
    "other bytes than CRLF behind a chunk": refused(chunked(b"qy").replace(b"q\r\n", b"qAB")),
    "a bare LF behind a size": refused(chunked(b"xy").replace(b"\r\n1\r\n", b"\r\n1\n", 1)),
    "a bare LF behind a chunk": refused(chunked(b"qy").replace(b"q\r\n", b"q\n")),
    "a trailer that is none": refused(chunked(b"xy", trailers=b"no colon\r\n")),
    "a length over the limit": refused(post(b"").replace(b": 0\r\n", b": 1048577\r\n"), 413),
    "a length beyond 2^64": refused(
        post(b"").replace(b": 0\r\n", b":\t99999999999999999999999 \r\n"), 413
    ),
    "a length beyond 2^64 and chunks": refused(
        chunked(b"x").replace(HOST, HOST + b"Content-Length: %d\r\n" % 2**64)
    ),
    "two lengths beyond 2^64": refused(post(b"x", *[b"content-length: %d" % 2**64] * 2)),
    "letters behind a length beyond 2^64": refused(post(b"x", b"Content-Length: %dx" % 2**64)),
    "a size over the limit": refused(
        chunked(b"xy").replace(b"\r\n1\r\n", b"\r\n100001\r\n", 1), 413
    ),
    "a header over the limit": refused(post(b"", b"X-A: " + b"a" * 66_000), 431),
}
