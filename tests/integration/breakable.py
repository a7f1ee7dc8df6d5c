"""A TCP proxy in front of a store, that can be cut, frozen and mended.

Not `tests.links`: what is frozen here is delivered later, where a silent link loses its packets
for good; and a subclass reads what passes. Threads serve it, so that a test may block.
"""

import selectors
import socket
import threading
from contextlib import suppress
from typing import Self
from urllib.parse import urlsplit

from local_stack.ports import choose_port


class Breakable:
    """Forwards connections to the address in a URL while it is whole; `url` leads through it."""

    def __init__(self, url: str) -> None:
        target = urlsplit(url)
        self.target = (target.hostname, target.port)
        self.frozen = False
        self._listener = listen(choose_port())
        self.port: int = self._listener.getsockname()[1]
        credentials, at, _ = target.netloc.rpartition("@")
        netloc = f"{credentials}{at}127.0.0.1:{self.port}"
        self.url = target._replace(netloc=netloc).geturl()
        self._sockets: list[socket.socket] = []
        self._serve()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()

    def _serve(self) -> None:
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(self.target)
                self._sockets += [client, server]
                if listener.fileno() < 0:  # cut in this very moment
                    hang_up(client)
                    hang_up(server)
                threading.Thread(target=self._forward, args=(client, server), daemon=True).start()

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        other = {client: server, server: client}
        with suppress(OSError, ValueError), selectors.DefaultSelector() as ready:
            for end in other:
                ready.register(end, selectors.EVENT_READ)
            while True:
                for key, _ in ready.select(0.05 if self.frozen else None):
                    source: socket.socket = key.fileobj
                    if self.frozen:
                        continue
                    data = source.recv(65536)
                    if not data:
                        raise OSError
                    other[source].sendall(data)
        hang_up(client)
        hang_up(server)

    def cut(self) -> None:
        """Refuse connections and end those that are."""
        hang_up(self._listener)
        sockets, self._sockets = self._sockets, []
        for end in sockets:
            hang_up(end)

    def mend(self) -> None:
        """Take connections again, on the same port."""
        self._listener = listen(self.port)
        self._serve()


def listen(port: int) -> socket.socket:
    return socket.create_server(("127.0.0.1", port))


def hang_up(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
