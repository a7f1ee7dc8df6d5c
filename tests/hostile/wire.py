"""HTTP by hand: what no client library would send, and the answers as they come over the wire.

Not `tests.api_client`: httpx refuses to send malformed HTTP, and hides what it mends in answers.
"""

import json
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

PROBLEM_KEYS = {"type", "title", "status", "detail", "instance", "code", "request_id"}


@dataclass
class Reply:
    """One answer; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def number(self) -> int:
        assert self.status == 201, (self.status, self.body)
        return int(json.loads(self.body)["number"])


class Connection:
    """A connection to a service, one byte after the other."""

    def __init__(self, url: str, timeout: float = 20) -> None:
        parts = urlsplit(url)
        self.socket = socket.create_connection((parts.hostname, parts.port), timeout=timeout)
        self.received = b""

    def send(self, data: bytes) -> Self:
        """Send; a peer that has had enough and left is found out when its answer is read."""
        with suppress(ConnectionError):
            self.socket.sendall(data)
        return self

    def read(self) -> Reply | None:
        """The next answer, None when the other side ended the connection without one."""
        while b"\r\n\r\n" not in self.received:
            if not self._receive():
                assert not self.received, self.received
                return None
        head, _, self.received = self.received.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines[1:])
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        body = self._take(int(headers.get("content-length", "0")))
        return Reply(int(lines[0].split()[1]), headers, body)

    def ends(self) -> bool:
        """Whether the other side ends the connection, with nothing more to say."""
        return not self._receive() and not self.received

    def close(self) -> None:
        self.socket.close()

    def _take(self, length: int) -> bytes:
        while len(self.received) < length:
            assert self._receive(), self.received
        taken, self.received = self.received[:length], self.received[length:]
        return taken

    def _receive(self) -> bool:
        try:
            received = self.socket.recv(65536)
        except ConnectionResetError:
            return False
        self.received += received
        return bool(received)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def request(method: str, path: str, body: bytes = b"", *lines: str | bytes) -> bytes:
    """A request with a correct length, and whatever other header lines are given."""
    head = [f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *lines]
    raw = [line if isinstance(line, bytes) else line.encode() for line in head]
    return b"\r\n".join(raw) + b"\r\n\r\n" + body


def exchange(url: str, data: bytes) -> Reply:
    """The one answer to some bytes sent on a connection of their own."""
    with Connection(url) as connection:
        reply = connection.send(data).read()
    assert reply is not None, "no answer"
    return reply


def check_problem(reply: Reply, *statuses: int) -> None:
    """A refusal is a whole problem document, with one of these statuses."""
    assert reply.status in statuses, (reply.status, reply.body)
    assert reply.headers["content-type"] == "application/problem+json"
    document = json.loads(reply.body)
    assert set(document) - {"errors"} == PROBLEM_KEYS
    assert document["status"] == reply.status
    assert document["request_id"] == reply.headers["x-request-id"]
    assert ("errors" in document) == (reply.status == 422)
    assert (reply.status in {503}) <= ("retry-after" in reply.headers)
