"""Incremental readers for request bodies: with a known length, or in strict chunks."""

import re

from web.problems import BodyTooLarge, MalformedRequest
from web.server import limits

# A size, and an extension, which is ignored.
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:;[\t\x20-\x7e\x80-\xff]*)?\r\n")
_CHUNK_LINE_START = re.compile(
    rb"[0-9A-Fa-f]{0,16}|[0-9A-Fa-f]{1,16}(?:;[\t\x20-\x7e\x80-\xff]*)?\r?"
)
_TRAILERS = re.compile(rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*\r\n)*\r\n")


class SizedBody:
    """A body of a known length."""

    __slots__ = ("_left", "data")

    unread = b""

    def __init__(self, length: int) -> None:
        self._left = length
        self.data = bytearray()

    def feed(self, piece: bytes) -> bytes | None:
        """Take the next piece; returns the data after the body once it is complete, else None."""
        if len(piece) < self._left:
            self._left -= len(piece)
            self.data += piece
            return None
        self.data += piece[: self._left]
        return piece[self._left :]


class ChunkedBody:
    """A chunked body, which ends with the empty line after its trailers.

    Extensions and trailers are checked, bounded and dropped. Chunks cost time by
    their number and not by their size, so `feed` reads a bounded number of them
    and keeps the rest in `unread`; feeding nothing reads on.
    """

    __slots__ = ("_in_trailers", "_left", "_rest", "_wire", "data", "unread")

    def __init__(self) -> None:
        self.data = bytearray()
        self.unread = b""  # chunks beyond those of one turn
        self._rest = b""  # the start of a line, or of the trailers
        self._left = 0  # bytes left of the arriving chunk, including the CRLF after it
        self._in_trailers = False
        self._wire = 0

    def feed(self, piece: bytes) -> bytes | None:
        """Take the next piece; returns the data after the body once it is complete, else None.

        Raises MalformedRequest, or BodyTooLarge as soon as a limit is exceeded.
        """
        self._wire += len(piece)
        if self._wire > limits.CHUNKED_WIRE_BYTES:
            raise BodyTooLarge
        if self._rest or self.unread:
            piece = self._rest + self.unread + piece
            self._rest = self.unread = b""
        position = chunks = 0
        while not self._in_trailers:
            if chunks == limits.CHUNKS_A_TURN:
                self.unread = piece[position:]
                return None
            chunks += 1
            if self._left:
                position = self._take_data(piece, position)
                if self._left:
                    return None
            line = _CHUNK_LINE.match(piece, position)
            if line is None:
                self._keep_line(piece, position)
                return None
            position = line.end()
            size = int(line[1], 16)
            if len(self.data) + size > limits.BODY_BYTES:
                raise BodyTooLarge
            if line.end() - line.start() > limits.CHUNK_LINE_BYTES:
                raise MalformedRequest
            self._in_trailers = size == 0
            self._left = size + 2 if size else 0
        return self._read_trailers(piece, position)

    def _take_data(self, piece: bytes, position: int) -> int:
        """Take the available part of a chunk; returns the position after it."""
        end = position + self._left - 2
        available = len(piece)
        if available < end:
            self.data += piece[position:]
            self._left = end - available + 2
            return available
        if self._left > 2:
            self.data += piece[position:end]
            self._left = 2
        if available < end + 2:
            self._rest = piece[end:]
            if not b"\r\n".startswith(self._rest):
                raise MalformedRequest
            return available
        if piece[end : end + 2] != b"\r\n":
            raise MalformedRequest
        self._left = 0
        return end + 2

    def _keep_line(self, piece: bytes, position: int) -> None:
        """Keep the start of a chunk line; raises MalformedRequest if it can't be one."""
        rest = piece[position:]
        if len(rest) > limits.CHUNK_LINE_BYTES or _CHUNK_LINE_START.fullmatch(rest) is None:
            raise MalformedRequest
        self._rest = rest

    def _read_trailers(self, piece: bytes, position: int) -> bytes | None:
        if piece.startswith(b"\r\n", position):
            return piece[position + 2 :]
        end = piece.find(b"\r\n\r\n", position)
        if (len(piece) if end < 0 else end) - position > limits.TRAILER_BYTES:
            raise BodyTooLarge
        if end < 0:
            self._rest = piece[position:]
            return None
        if _TRAILERS.fullmatch(piece, position, end + 4) is None:
            raise MalformedRequest
        return piece[end + 4 :]


Body = SizedBody | ChunkedBody
