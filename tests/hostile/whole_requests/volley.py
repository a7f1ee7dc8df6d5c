"""Many connections at once, each sent its bytes in pieces, and everything that comes back."""

import itertools
import socket
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from typing import NamedTuple

from tests.hostile.whole_requests.corpus import REQUEST_ID, Shot
from tests.hostile.wire import Connection, Reply

AT_ONCE = 64
PAUSE_SECONDS = 0.002  # long enough for the server to read what was sent before
_ids = (b"id-%07d" % number for number in itertools.count())

LAST = (
    b"GET /health/live HTTP/1.1\r\nHost: x\r\nX-Request-ID: " + REQUEST_ID + b"\r\n"
    b"Connection: close\r\n\r\n"
)


class Bullet(NamedTuple):
    """The bytes of one connection, in pieces, with the ids of its requests."""

    pieces: Sequence[bytes]
    ids: Sequence[str]


class Return(NamedTuple):
    """What came back on one connection."""

    bullet: Bullet
    replies: list[Reply]


def load(shots: Iterable[bytes], cuts: Sequence[int] = ()) -> Bullet:
    """Requests one behind the other, each with an id of its own, cut at these places."""
    raw, ids = b"".join(shots), []
    while REQUEST_ID in raw:
        identifier = next(_ids)
        raw = raw.replace(REQUEST_ID, identifier, 1)
        ids.append(identifier.decode())
    places = [0, *cuts, len(raw)]
    return Bullet([raw[a:b] for a, b in itertools.pairwise(places)], ids)


def fire(url: str, bullets: Sequence[Bullet], *, head_first: bool = False) -> list[Return]:
    """Send each on a connection of its own, a piece of each at a time; read them to their ends."""
    found = []
    for start in range(0, len(bullets), AT_ONCE):
        found += _fire_together(url, bullets[start : start + AT_ONCE], head_first)
    return found


def _fire_together(url: str, bullets: Sequence[Bullet], head_first: bool) -> list[Return]:
    with ExitStack() as opened:
        connections = [opened.enter_context(Connection(url)) for _ in bullets]
        for connection in connections:
            connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for pieces in itertools.zip_longest(*(bullet.pieces for bullet in bullets), fillvalue=b""):
            for connection, piece in zip(connections, pieces, strict=True):
                if piece:
                    connection.send(piece)
            time.sleep(PAUSE_SECONDS)
        received = [read_to_end(connection.socket) for connection in connections]
    parsed = [parse(data, head_first=head_first) for data in received]
    return [Return(*pair) for pair in zip(bullets, parsed, strict=True)]


def read_to_end(connection: socket.socket) -> bytes:
    received = b""
    with suppress(ConnectionResetError):
        while data := connection.recv(65536):
            received += data
    return received


def parse(data: bytes, *, head_first: bool = False) -> list[Reply]:
    """The answers in a stream of them, 100 left out; the first is to a HEAD where told so."""
    replies: list[Reply] = []
    while data:
        head, separator, data = data.partition(b"\r\n\r\n")
        assert separator, head
        lines = head.decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines[1:])
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        status = int(lines[0].split()[1])
        if status == 100:
            continue
        body, data = _split_body(headers, data, bodiless=head_first and not replies)
        replies.append(Reply(status, headers, body))
    return replies


def _split_body(headers: dict[str, str], data: bytes, *, bodiless: bool) -> tuple[bytes, bytes]:
    if bodiless:
        return b"", data
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while True:
            size, _, data = data.partition(b"\r\n")
            length = int(size, 16)
            chunk, end, data = data[:length], data[length : length + 2], data[length + 2 :]
            assert end == b"\r\n"
            body += chunk
            if not length:
                return body, data
    length = int(headers.get("content-length", len(data)))
    assert len(data) >= length
    return data[:length], data[length:]


def check_own(back: Return) -> None:
    """Every answer on a connection is to a request of that connection, and in its order."""
    ids = [reply.headers["x-request-id"] for reply in back.replies]
    assert ids == list(back.bullet.ids)[: len(ids)]


def check(back: Return, shots: Sequence[Shot]) -> None:
    """The answers are those of the shots, in their order."""
    expected = [status for shot in shots for status in shot.statuses]
    assert [reply.status for reply in back.replies] == expected
    if 400 not in expected:  # a request that can't be parsed has no id that could be taken over
        check_own(back)
