"""Heads that repeat themselves: what of them is parsed again, and what is kept of them."""

import re
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from web.problems import HeadersTooLarge
from web.server.arrival import Arrival, is_hopeless
from web.server.head import (
    CACHED_HEAD_BYTES,
    CACHED_HEADER_LINES,
    CACHED_REQUEST_LINES,
    Head,
    parse_head,
)
from web.server.limits import HEAD_LINES

MB = 1_000_000


def head_of(target: bytes, *lines: bytes) -> Head:
    return parse_head(b"\r\n".join((b"GET %s HTTP/1.1" % target, b"Host: x", *lines, b"\r\n")))


def test_header_lines_are_parsed_once_for_all_targets() -> None:
    first, second = head_of(b"/a?b", b"Accept: y"), head_of(b"/c", b"Accept: y")
    assert first.headers is second.headers
    assert (first.raw_path, first.query) == (b"/a", b"b")
    assert (second.raw_path, second.query) == (b"/c", b"")


def test_a_target_is_parsed_once_for_all_header_lines() -> None:
    first, second = head_of(b"/only-once", b"A: b"), head_of(b"/only-once", b"C: d")
    assert first.raw_path is second.raw_path
    assert (first.headers[1], second.headers[1]) == ((b"a", b"b"), (b"c", b"d"))


def test_the_host_of_a_target_replaces_that_of_its_own_request_only() -> None:
    lines = (b"Accept: z",)
    hosts = [head_of(target, *lines).headers[0][1] for target in (b"/a", b"http://h/a", b"/a")]
    assert hosts == [b"x", b"h", b"x"]


def test_the_version_is_part_of_what_header_lines_mean() -> None:
    lines = b"\r\nHost: x\r\nAccept: v\r\n\r\n"
    keep_alive = [parse_head(b"GET / HTTP/1.%d%s" % (minor, lines)).keep_alive for minor in (1, 0)]
    assert keep_alive == [True, False]


def test_nothing_is_kept_of_a_long_head() -> None:
    long = b"A: " + b"b" * CACHED_HEAD_BYTES
    assert head_of(b"/a", long).headers is not head_of(b"/a", long).headers


ROOM = CACHED_HEAD_BYTES - 60


@pytest.mark.parametrize(
    ("target", "lines"),
    [(b"", [b"ab:"] * (ROOM // 5)), (b"", [b"a: " + b"b" * (ROOM - 5)]), (b"a" * ROOM, [])],
    ids=["many lines", "a long line", "a long target"],
)
def test_heads_that_are_made_up_take_little_memory(target: bytes, lines: list[bytes]) -> None:
    tracemalloc.start()
    try:
        for number in range(CACHED_REQUEST_LINES + CACHED_HEADER_LINES):
            head = head_of(b"/%d%s" % (number, target), b"N: %d" % number, *lines)
            assert ROOM < head.size <= CACHED_HEAD_BYTES
        assert tracemalloc.get_traced_memory()[0] < 20 * MB
    finally:
        tracemalloc.stop()


PIECE = st.lists(
    st.sampled_from(
        [b"a: b", b"\r\n", b"\r\n", b"\t", b"\xff", b"\r", b"\n", b"\x00", b"\x1f\x7f"]
    ),
    max_size=6,
).map(b"".join)
# What no head contains: a control character, or a CR or LF on its own.
NEVER = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r[^\n]|(?<!\r)\n")


@given(first=PIECE, second=PIECE)
def test_a_part_of_a_head_is_hopeless_wherever_it_was_cut(first: bytes, second: bytes) -> None:
    assert is_hopeless(first, 0) == (NEVER.search(first) is not None)
    if not is_hopeless(first, 0):
        searched = max(len(first) - 3, 0)  # as an arrival remembers it
        whole = first + second
        assert is_hopeless(whole, searched) == (NEVER.search(whole) is not None)


@pytest.mark.parametrize("lines", [HEAD_LINES, HEAD_LINES + 1, HEAD_LINES + 2])
def test_a_head_has_as_many_lines_as_it_may_however_it_was_cut(lines: int) -> None:
    head = b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * (lines - 2) + b"\r\n"
    for cut in (*range(len(head) - 9, len(head) + 1), len(head) // 2):
        arrival = Arrival()
        try:
            for piece in (head[:cut], b"", head[cut:], b""):
                if whole := arrival.feed(piece):
                    assert len(whole.head.headers) == lines - 1
        except HeadersTooLarge:
            assert lines == HEAD_LINES + 2
        else:
            assert lines < HEAD_LINES + 2


def test_a_part_of_a_head_with_too_many_lines_is_refused_before_its_end() -> None:
    with pytest.raises(HeadersTooLarge):
        Arrival().feed(b"GET / HTTP/1.1\r\n" + b"a:\r\n" * (2 * HEAD_LINES))
