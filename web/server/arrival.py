"""Parses what has arrived on one connection into whole requests, one at a time. No I/O."""

from typing import Final

from web.problems import BodyTooLarge, HeadersTooLarge, MalformedRequest
from web.server.body import Body, ChunkedBody, SizedBody
from web.server.head import CHUNKED, Head, parse_head
from web.server.limits import BODY_BYTES, HEAD_BYTES, HEAD_LINES, LONG_HEAD_BYTES

_END_OF_HEAD: Final = b"\r\n\r\n"
# What no head contains, besides a CR or LF on its own.
_CONTROL_CHARACTERS: Final = bytes({*range(32), 127} - {*b"\t\r\n"})


class Whole:
    """A whole request."""

    __slots__ = ("body", "head")

    def __init__(self, head: Head, body: bytes) -> None:
        self.head = head
        self.body = body


class Arrival:
    """The request that is arriving, and the data after it."""

    __slots__ = ("_body", "_is_long", "_searched", "buffer", "head", "wants_continue")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Drop everything."""
        self.buffer = b""  # a part of a head, or the data after a request
        self._searched = 0  # bytes of the buffer already searched for the end of a head
        self._is_long = False  # a long head waits for its turn, which is the next `feed`
        self.head: Head | None = None  # kept for the answer to a refused request
        self._body: Body | None = None
        self.wants_continue = False  # the client waits for 100 before it sends the body

    @property
    def is_in_body(self) -> bool:
        """Whether a head is complete and its body is not."""
        return self._body is not None

    @property
    def is_empty(self) -> bool:
        """Whether no part of a request has arrived."""
        return self._body is None and not self.buffer

    @property
    def size(self) -> int:
        """How many bytes are held."""
        body = self._body
        return len(self.buffer) if body is None else len(body.data) + len(body.unread)

    def has_unread(self) -> bool:
        """Whether more has arrived than is read without a turn; feeding nothing reads on."""
        return self._is_long or (self._body is not None and bool(self._body.unread))

    def keep(self, data: bytes) -> None:
        """Buffer data that arrives before the last request was answered."""
        self.buffer = self.buffer + data if self.buffer else data

    def feed(self, data: bytes = b"") -> Whole | None:
        """Return the next request once `data` completes it; raises the Problem to answer."""
        if self.head is not None and self._body is not None:
            return self._take_body(self.head, self._body, data)
        self.keep(data)
        return self._take_request()

    def _take_request(self) -> Whole | None:
        if self.buffer.startswith(b"\r\n"):
            self.buffer = skip_empty_lines(self.buffer)
        buffer = self.buffer
        end = buffer.find(_END_OF_HEAD, self._searched)
        if not 0 <= end <= 2 * HEAD_LINES:  # no line is shorter than its end
            if self._is_long_one(end):
                return None
            if end < 0:
                self._check_part_of_head()
                return None
            if end + 4 > HEAD_BYTES or has_too_many_lines(buffer, end):
                raise HeadersTooLarge
        head = parse_head(buffer[: end + 4])
        rest = buffer[end + 4 :]
        self._searched = 0
        length = head.length
        if length > BODY_BYTES:
            self.head = head
            raise BodyTooLarge
        if 0 <= length <= len(rest):
            self.buffer = rest[length:]
            return Whole(head, rest[:length])
        self.buffer = b""
        self.head = head
        self._body = ChunkedBody() if length == CHUNKED else SizedBody(length)
        self.wants_continue = head.expects_continue and not rest
        return self._take_body(head, self._body, rest)

    def _is_long_one(self, end: int) -> bool:
        """Whether to wait for a turn: reading a long head, or refusing it, takes a while."""
        size = len(self.buffer) if end < 0 else end
        self._is_long = size > LONG_HEAD_BYTES and not self._is_long
        return self._is_long

    def _check_part_of_head(self) -> None:
        """Refuse a head as soon as it is too long or can't become a valid one."""
        buffer = self.buffer
        # What is left out may be the end of the last line, and half of the head's.
        if len(buffer) > HEAD_BYTES or has_too_many_lines(buffer, len(buffer) - 2):
            raise HeadersTooLarge
        if is_hopeless(buffer, self._searched):
            raise MalformedRequest
        self._searched = max(len(buffer) - 3, 0)

    def _take_body(self, head: Head, body: Body, data: bytes) -> Whole | None:
        rest = body.feed(data)
        if rest is None:
            return None
        self.head = self._body = None
        self.wants_continue = False
        self.buffer = rest
        return Whole(head, bytes(body.data))


def has_too_many_lines(buffer: bytes, end: int) -> bool:
    """Whether the part of a head before `end` has more than HEAD_LINES; counts no further."""
    return len(buffer[:end].split(b"\r\n", HEAD_LINES + 1)) > HEAD_LINES + 1


def is_hopeless(part: bytes, start: int) -> bool:
    """Whether the part of a head after `start` can't be HTTP, whatever follows.

    A regular expression would take ten times as long, for a head of 64 KiB some milliseconds.
    """
    new = part[start:]
    if start:
        new = new.removeprefix(b"\n")  # whose CR is before it: both were searched
    if len(new.translate(None, _CONTROL_CHARACTERS)) != len(new):
        return True
    line_ends = new.count(b"\r\n")
    is_half = new.endswith(b"\r")
    return new.count(b"\r") != line_ends + is_half or new.count(b"\n") != line_ends


def skip_empty_lines(buffer: bytes) -> bytes:
    """Skip empty lines before a request, as RFC 9112 asks; half of one is kept.

    Raises MalformedRequest for line ends that are none.
    """
    rest = buffer.lstrip(b"\r\n")
    skipped = buffer[: len(buffer) - len(rest)]
    if skipped.endswith(b"\r") and not rest:
        skipped, rest = skipped[:-1], b"\r"
    if skipped.count(b"\r\n") * 2 != len(skipped):
        raise MalformedRequest
    return rest
