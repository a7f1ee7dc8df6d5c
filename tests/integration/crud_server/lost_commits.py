"""A TCP proxy in front of PostgreSQL that loses COMMITs, or the answers to them."""

import socket
from collections.abc import Callable
from contextlib import suppress

from tests.integration.breakable import Breakable, hang_up


class LostCommits(Breakable):
    """Forwards everything; the next `answers` COMMITs lose their answer, `commits` do not arrive.

    `meanwhile` is called between a COMMIT and the loss of its connection;
    `then_refuse` has the store unavailable from then on.
    """

    def __init__(self, url: str) -> None:
        self.answers = self.commits = 0
        self.meanwhile: Callable[[], object] = lambda: None
        self.then_refuse = False
        super().__init__(url)

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError, ValueError):
            client.settimeout(0.005)
            server.settimeout(0.005)
            while True:
                for source, target in ((client, server), (server, client)):
                    data = receive(source)
                    if data is None:
                        continue
                    if source is client and b"COMMIT" in data and self._lose(data, server):
                        raise OSError
                    if not data:
                        raise OSError
                    target.sendall(data)
        hang_up(client)
        hang_up(server)

    def _lose(self, data: bytes, server: socket.socket) -> bool:
        """Whether this COMMIT is one to lose; it is committed when its answer is."""
        if self.commits:
            self.commits -= 1
        elif self.answers:
            self.answers -= 1
            server.sendall(data)
            server.settimeout(10)
            assert b"COMMIT" in server.recv(65536)
        else:
            return False
        self.meanwhile()
        if self.then_refuse:
            hang_up(self._listener)
        return True


def receive(source: socket.socket) -> bytes | None:
    """What has arrived, None when nothing has."""
    try:
        return source.recv(65536)
    except TimeoutError:
        return None
