"""The reader of events that the tests trust keeps the WHATWG's rules.

The cases are those of the specification's examples and of the web platform tests.
"""

import pytest

from tests.live.event_stream import Event, EventStream

CASES = {
    "a block of one line": (b"data: hi\n\n", [("message", "hi", "")]),
    "several lines of data": (
        b"data: YHOO\ndata: +2\ndata: 10\n\n",
        [("message", "YHOO\n+2\n10", "")],
    ),
    "one space is cut, not two": (
        b"data:a\n\ndata:  b\n\n",
        [("message", "a", ""), ("message", " b", "")],
    ),
    "a type and an id": (b"event: add\nid: 7\ndata: x\n\n", [("add", "x", "7")]),
    "an id stays until the next": (
        b"id: 1\ndata: a\n\ndata: b\n\n",
        [("message", "a", "1"), ("message", "b", "1")],
    ),
    "an id with NUL is ignored": (b"id: 1\nid: 2\0\ndata: a\n\n", [("message", "a", "1")]),
    "an empty id resets": (
        b"id: 1\ndata: a\n\nid\ndata: b\n\n",
        [("message", "a", "1"), ("message", "b", "")],
    ),
    "a block without data is none": (b"event: add\nid: 1\n\ndata: b\n\n", [("message", "b", "1")]),
    "empty lines of data": (
        b"data\n\ndata:\ndata\n\ndata:",
        [("message", "", ""), ("message", "\n", "")],
    ),
    "comments": (b": hi\n:\ndata: a\n\n", [("message", "a", "")]),
    "unknown fields": (b"Data: a\n data: b\nfoo\ndata: c\n\n", [("message", "c", "")]),
    "colons in a value": (b"data: a: b\n\n", [("message", "a: b", "")]),
    "a byte order mark": (
        b"\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\n",
        [("message", "a", "")],
    ),
    "an unfinished block": (b"data: a\n\ndata: b\n", [("message", "a", "")]),
    "line separators of Unicode": (
        "data: a\u2028b\x85c\x0bd\n\n".encode(),
        [("message", "a\u2028b\x85c\x0bd", "")],
    ),
}


@pytest.mark.parametrize("line_end", [b"\n", b"\r", b"\r\n"], ids=["LF", "CR", "CRLF"])
@pytest.mark.parametrize("size", [1, 2, 3, 1000])
@pytest.mark.parametrize("name", CASES)
def test_a_stream_is_read_by_the_rules(name: str, size: int, line_end: bytes) -> None:
    raw, expected = CASES[name]
    raw = raw.replace(b"\n", line_end)
    stream = EventStream()
    seen = [event for at in range(0, len(raw), size) for event in stream.feed(raw[at : at + size])]
    assert seen == [Event(*each) for each in expected]


def test_an_id_counts_once_its_block_has_ended() -> None:
    stream = EventStream("3")
    stream.feed(b"id: 4\ndata: x\n")
    assert (stream.last_event_id, stream.is_between_events) == ("3", False)
    stream.feed(b"\n")
    assert (stream.last_event_id, stream.is_between_events) == ("4", True)


def test_a_block_in_front_of_the_first_id_forgets_the_last_one() -> None:
    stream = EventStream("3")
    stream.feed(b"retry: 2000\n\n")
    assert (stream.last_event_id, stream.retry_ms) == ("", 2000)


@pytest.mark.parametrize("value", [b"1s", b"-1", b" ", b"\xd9\xa1"])
def test_a_reconnection_time_that_is_no_number_is_ignored(value: bytes) -> None:
    stream = EventStream()
    stream.feed(b"retry: 2000\nretry:" + value + b"\n\n")
    assert stream.retry_ms == 2000
