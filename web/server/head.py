"""Parses the head of a request, and decides how its body is framed.

A head reaches the parser when all of it has arrived, so that its split into packets can't change
its meaning. Everything that two parsers could read differently is refused.

Clients repeat request lines, and header lines with them or with others: each of both is parsed
apart, and what it means is cached.
"""

import codecs
import re
from functools import lru_cache
from string import ascii_letters, digits
from typing import Final, NamedTuple
from urllib.parse import quote_from_bytes, unquote

import httptools

from web.problems import MalformedRequest
from web.server.limits import BODY_BYTES

Headers = list[tuple[bytes, bytes]]

CHUNKED: Final = -1  # the length of a body that is framed by chunks

# Longer heads are not cached. Those made up to fill the caches take 20 MB at most.
CACHED_HEAD_BYTES: Final = 1024
CACHED_REQUEST_LINES: Final = 2048
CACHED_HEADER_LINES: Final = 512  # the lines of one head each

# The parser gets these as they are and GET in place of any other method, so that the
# application answers 405 instead of the parser 400. CONNECT has another form of target.
_PARSED_AS_THEY_ARE: Final = frozenset(
    {b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"}
)
_METHOD = re.compile(rb"[A-Z][A-Z0-9_-]{0,31}")
_VERSIONS: Final = {b"HTTP/1.1": "1.1", b"HTTP/1.0": "1.0"}
_ABSOLUTE = re.compile(rb"https?://([^/?#]+)", re.IGNORECASE)
_HOST_CHARACTERS: Final = f"{ascii_letters}{digits}._~!$&'()*+,;=:%[]-".encode()
# Of a Content-Length that are read; one with more is over the limit by these alone.
_MAX_LENGTH_DIGITS: Final = 18
# A Content-Length that overflows the parser's 64 bits, which it can't tell from a malformed one.
_OVERFLOW = re.compile(rb"((?:\A|\r\n)content-length:[ \t]*)[0-9]{20,}(?=[ \t]*\r\n)", re.I)
_LONGEST = b"9" * _MAX_LENGTH_DIGITS

# Stays encoded: decoded, it would separate segments, which it does not (RFC 3986, 2.2).
_ENCODED_SLASH = re.compile("%(2f)", re.IGNORECASE)
# How bytes of a path are decoded that are not UTF-8: they stay percent-encoded, as in Django.
_AS_SENT = "web.server.as_sent"
# Decoding takes time per escape, and no path of a service is nearly as long.
LONGEST_PATH: Final = 4096

# The server alone manages the connection, and never switches protocols: applications
# don't see these headers, and the parser's interpretation of them is ignored.
_DROPPED: Final = frozenset({b"connection", b"keep-alive", b"upgrade", b"http2-settings"})
_NOTED: Final = _DROPPED | {b"host", b"content-length", b"transfer-encoding", b"expect"}


def _keep_encoded(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return quote_from_bytes(error.object[error.start : error.end]), error.end


codecs.register_error(_AS_SENT, _keep_encoded)


class Head:
    """A request without its body; header names in lower case."""

    __slots__ = (
        "expects_continue",
        "headers",
        "keep_alive",
        "length",
        "method",
        "query",
        "raw_path",
        "size",
        "version",
    )

    def __init__(
        self,
        method: str,
        raw_path: bytes,
        query: bytes,
        version: str,
        headers: Headers,
        length: int,
        keep_alive: bool,
        expects_continue: bool,
        size: int,
    ) -> None:
        self.method = method
        self.raw_path = raw_path
        self.query = query
        self.version = version
        self.headers = headers
        self.length = length
        self.keep_alive = keep_alive
        self.expects_continue = expects_continue
        self.size = size  # in bytes, as it was sent


class _RequestLine(NamedTuple):
    """The first line of a head; `host` is None unless its target has one."""

    method: str
    raw_path: bytes
    query: bytes
    version: str
    host: bytes | None


class _HeaderLines(NamedTuple):
    """The other lines of a head, which nobody changes: all that are equal share them."""

    headers: Headers
    length: int
    keep_alive: bool
    expects_continue: bool


class _Collector:
    """Collects the header lines from the parser."""

    __slots__ = ("headers", "noted")

    def __init__(self) -> None:
        self.headers: Headers = []
        self.noted: Headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        # The parser skips the white space before a value only (RFC 9112, 5).
        value = value.rstrip(b" \t")
        if name in _NOTED:
            self.noted.append((name, value))
            if name in _DROPPED:
                return
        self.headers.append((name, value))


def parse_head(data: bytes) -> Head:
    """Parse a head, its blank line included; raises MalformedRequest."""
    size = len(data)
    line, _, lines = data.partition(b"\r\n")
    if size <= CACHED_HEAD_BYTES:
        method, raw_path, query, version, host = _cached_request_line(line)
        headers, length, keep_alive, expects_continue = _cached_header_lines(lines, version)
    else:
        method, raw_path, query, version, host = _parse_request_line(line)
        headers, length, keep_alive, expects_continue = _parse_header_lines(lines, version)
    if host is not None:
        headers = [(b"host", host), *[header for header in headers if header[0] != b"host"]]
    return Head(
        method, raw_path, query, version, headers, length, keep_alive, expects_continue, size
    )


def _parse_request_line(line: bytes) -> _RequestLine:
    """Parse the first line of a head, without its end; raises MalformedRequest."""
    try:
        method, target, http_version = line.split(b" ")
        version = _VERSIONS[http_version]
    except (ValueError, KeyError):
        raise MalformedRequest from None
    if b"\n" in target:  # the parser would take what follows for a header
        raise MalformedRequest
    if method not in _PARSED_AS_THEY_ARE or not target.isascii():
        line, target = _conform(method, target, http_version)
    try:
        httptools.HttpRequestParser(_Collector()).feed_data(line + b"\r\n\r\n")
    except httptools.HttpParserError:
        raise MalformedRequest from None
    host, raw_path, query = _split_target(target)
    return _RequestLine(method.decode("ascii"), raw_path, query, version, host)


def _parse_header_lines(lines: bytes, version: str) -> _HeaderLines:
    """Parse the lines after the first one, with the blank one; raises MalformedRequest."""
    collector = _Collector()
    try:
        # What the lines mean does not depend on the method or the target.
        head = f"POST / HTTP/{version}\r\n".encode() + lines
        httptools.HttpRequestParser(collector).feed_data(head)
    except httptools.HttpParserUpgrade:
        pass  # the head is complete; we read what follows ourselves
    except httptools.HttpParserError:
        shorter = _OVERFLOW.sub(rb"\g<1>" + _LONGEST, lines)
        if shorter == lines:
            raise MalformedRequest from None
        return _parse_header_lines(shorter, version)
    return _HeaderLines(collector.headers, *_framing(collector.noted, version))


_cached_request_line = lru_cache(CACHED_REQUEST_LINES)(_parse_request_line)
_cached_header_lines = lru_cache(CACHED_HEADER_LINES)(_parse_header_lines)


def decode_path(raw_path: bytes) -> str:
    """Return a path percent-decoded, but for slashes; one too long to name anything is not."""
    path = raw_path.decode("ascii")
    if "%" not in path or len(path) > LONGEST_PATH:
        return path
    return unquote(_ENCODED_SLASH.sub(r"%25\1", path), errors=_AS_SENT)


def _conform(method: bytes, target: bytes, version: bytes) -> tuple[bytes, bytes]:
    """Return the line with a method that the parser knows and an ASCII target; and that target."""
    if _METHOD.fullmatch(method) is None:
        raise MalformedRequest
    if not target.isascii():
        # ASCII characters are left as they are.
        target = quote_from_bytes(target, safe=_ASCII).encode("ascii")
    known = method if method in _PARSED_AS_THEY_ARE else b"GET"
    return b"%s %s %s" % (known, target, version), target


_ASCII = bytes(range(128))


def _split_target(target: bytes) -> tuple[bytes | None, bytes, bytes]:
    """Return the host, the path and the query of a target.

    Only a target in absolute form has a host, which replaces the header (RFC 9112, 3.2.2). `*`
    is a path.
    """
    host = None
    if not target.startswith(b"/"):
        absolute = _ABSOLUTE.match(target)
        if absolute is not None:
            host = absolute[1]
            if not is_host(host):
                raise MalformedRequest
            target = target[absolute.end() :]
            if not target.startswith(b"/"):
                target = b"/" + target
        elif target != b"*":  # pragma: no cover - llhttp refuses it first
            raise MalformedRequest
    path, _, query = target.partition(b"#")[0].partition(b"?")
    return host, path, query


def _framing(noted: Headers, version: str) -> tuple[int, bool, bool]:
    """Return the body's length, whether to keep the connection, whether the client awaits 100."""
    hosts = 0
    length: bytes | None = None
    is_chunked = expects_continue = False
    connection = b""
    for name, value in noted:
        if name == b"host":
            hosts += 1
            if not is_host(value):
                raise MalformedRequest
        elif name == b"content-length":
            if length is not None:  # pragma: no cover - llhttp refuses it first
                raise MalformedRequest
            length = value
        elif name == b"transfer-encoding":
            if is_chunked or version == "1.0" or value.lower() != b"chunked":
                raise MalformedRequest
            is_chunked = True
        elif name == b"connection":
            connection += b"," + value
        elif name == b"expect":
            # Other expectations are ignored, which RFC 9110 leaves to the server.
            expects_continue = version == "1.1" and value.lower() == b"100-continue"
    if hosts != 1 and (hosts or version == "1.1"):
        raise MalformedRequest
    keep_alive = _persists(connection, version) if connection else version == "1.1"
    if is_chunked:
        if length is not None:  # pragma: no cover - llhttp refuses it first
            raise MalformedRequest
        return CHUNKED, keep_alive, expects_continue
    return 0 if length is None else _parse_length(length), keep_alive, expects_continue


def _persists(connection: bytes, version: str) -> bool:
    """Whether a connection persists, by all Connection headers; `close` takes precedence."""
    words = {word.strip(b" \t") for word in connection.lower().split(b",")}
    return b"close" not in words and (version == "1.1" or b"keep-alive" in words)


def _parse_length(text: bytes) -> int:
    """Parse a Content-Length; the head's size bounds its leading zeros, we bound the rest.

    A length over the limit is returned as one byte too many: the connection then refuses the
    request, with its path and its id.
    """
    if not text.isdigit():  # pragma: no cover - llhttp refuses it first
        raise MalformedRequest
    length = int(text.lstrip(b"0")[:_MAX_LENGTH_DIGITS] or b"0")
    return min(length, BODY_BYTES + 1)


def is_host(value: bytes) -> bool:
    """Whether a Host header is valid."""
    return not value.strip(_HOST_CHARACTERS)
