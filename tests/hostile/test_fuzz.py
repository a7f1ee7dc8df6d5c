"""Mutated requests are read as h11 reads them, or refused.

Where the two differ on purpose:
- We refuse and h11 reads: bare LF as a line end, folded headers, the same length
  twice, a length together with chunks, chunks in HTTP/1.0, spaces around a chunk's
  size, methods in small letters, targets without a slash, hosts that are none,
  control characters in extensions and trailers, trailers that are none, what is
  over our limits.
- We read and h11 refuses: empty lines in front of a request, raw UTF-8 in a target,
  lengths with more zeros than 20 digits hold, a request behind one of HTTP/1.0 whose
  client keeps the connection, trailers that would not do as headers of a request:
  two lengths, say.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from typing import NamedTuple

import h11
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.unit.web.web_corpus import ACCEPTED, REFUSED, chunked
from tests.unit.web.web_server import Machine, Outcome

EXAMPLES = 3_000
SHORT = [case.raw for case in (*ACCEPTED.values(), *REFUSED.values()) if len(case.raw) < 1000]
PIECES = [
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b" ", b"\t", b":", b";", b",", b"0", b"1", b"f", b"\x00",
    b"\x7f", b"\xff", b"#", b"?", b"%", b"%0d%0a", b"0\r\n\r\n", b"1\r\nx\r\n", b"HTTP/1.0",
    b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: identity\r\n", b"Connection: close\r\n", b"Connection: Upgrade\r\n",
    b"Connection: keep-alive\r\n", b"Upgrade: h2c\r\n", b"Host: y\r\n",
    b"Expect: 100-continue\r\n", b"X-A: b\r\n", b" folded\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"Host: x\r\nContent-Length: 3\r\n\r\n",
]  # fmt: skip
# What we read and h11 doesn't, on purpose.
LONG_LENGTH = re.compile(rb": *0{18}")
FRAMING_TRAILER = re.compile(
    rb"\r\n0+(?:;[^\r\n]*)?\r\n(?:[^\r\n]+\r\n)*?(?:content-length|transfer-encoding):",
    re.IGNORECASE,
)


class Reading(NamedTuple):
    """A request as h11 reads it."""

    method: str
    target: bytes
    body: bytes


def read_with_h11(data: bytes) -> list[Reading]:
    """The whole requests that h11, as a server, finds on a connection."""
    found: list[Reading] = []
    with suppress(h11.RemoteProtocolError):
        while data:
            connection = h11.Connection(h11.SERVER, max_incomplete_event_size=100_000)
            connection.receive_data(as_h11_reads(data))
            request, body = connection.next_event(), b""
            while isinstance(event := connection.next_event(), h11.Data):
                body += bytes(event.data)
            if not isinstance(request, h11.Request) or not isinstance(event, h11.EndOfMessage):
                break
            found.append(Reading(request.method.decode(), request.target, body))
            connection.send(h11.Response(status_code=404, headers=[("content-length", "0")]))
            connection.send(h11.EndOfMessage())
            is_kept = connection.our_state is h11.DONE or is_kept_alive(request)
            data = connection.trailing_data[0] if is_kept else b""
    return found


def is_kept_alive(request: h11.Request) -> bool:
    """Whether a client of HTTP/1.0 asks to keep the connection, which h11 never does."""
    values = [value.lower() for name, value in request.headers if name == b"connection"]
    words = {word.strip() for value in values for word in value.split(b",")}
    return b"keep-alive" in words and b"close" not in words


def as_h11_reads(data: bytes) -> bytes:
    """A request without what h11 refuses in front of it and in its target."""
    while data.startswith(b"\r\n"):
        data = data[2:]
    line, end, rest = data.partition(b"\r\n")
    return re.sub(rb"[\x80-\xff]", lambda it: b"%%%02X" % it[0][0], line) + end + rest


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """One to three requests of the corpus in a row, with up to four changes."""
    data = b"".join(draw(st.lists(st.sampled_from(SHORT), min_size=1, max_size=3)))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 12)))
        kind = draw(
            st.sampled_from(["insert", "insert", "overwrite", "delete", "repeat", "replace"])
        )
        piece = draw(st.sampled_from(PIECES))
        if kind == "insert":
            data = data[:start] + piece + data[start:]
        elif kind == "replace":
            data = data[:start] + piece + data[end:]
        elif kind == "overwrite":
            data = data[:start] + piece + data[start + len(piece) :]
        elif kind == "delete":
            data = data[:start] + data[end:]
        else:
            data = data[:end] + data[start:end] + data[end:]
    return data


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    machine = Machine()
    yield machine
    machine.close()


def readings(outcome: Outcome) -> list[Reading]:
    """What our server handed over."""
    return [
        Reading(it.method, it.raw_path + b"?" + it.query if it.query else it.raw_path, it.body)
        for it in outcome.seen
    ]


def normal(target: bytes) -> bytes:
    """A target of h11's as we hand it over: no authority, no fragment, no empty query."""
    target = re.sub(rb"(?i)^https?://[^/?#]+", b"", target).partition(b"#")[0]
    return target.removesuffix(b"?") if target.startswith(b"/") else b"/" + target


@example(data=chunked(b"xy", trailers=b"Content-Length: 5\r\nContent-Length: 0\r\n"), cuts=[])
@example(data=chunked(b"xy", trailers=b"Transfer-Encoding: identity\r\n"), cuts=[])
@given(data=mutated(), cuts=st.lists(st.integers(0, 600), max_size=4))
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@pytest.mark.timeout(600)
def test_mutated_requests_are_read_like_h11_or_refused(
    machine: Machine, data: bytes, cuts: list[int]
) -> None:
    outcome = machine.read([data])
    places = [0, *sorted(cuts), len(data)]
    pieces = [data[a:b] for a, b in pairwise(places) if a < b]
    assert machine.read(pieces) == outcome
    ours, theirs = readings(outcome), read_with_h11(data)
    for mine, other in zip(ours, theirs, strict=False):
        assert mine == other._replace(target=normal(other.target))
    refused = len(outcome.statuses) - len(ours)
    assert refused in (0, 1)
    if len(ours) > len(theirs):
        assert LONG_LENGTH.search(data) or FRAMING_TRAILER.search(data), "we read what h11 refuses"
    elif len(ours) < len(theirs):
        assert refused == 1, "h11 read what we still wait for"
