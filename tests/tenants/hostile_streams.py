"""One application at its worst with streams: what it does by following."""

import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from urllib.parse import urlsplit

from tests.tenants.hostile import STORED_MESSAGES, Hostile, side_by_side, stalled

FOLLOWERS = 800
# A little less than there is, since what follows it does not end.
HISTORY_BYTES = 60_000 * STORED_MESSAGES


def flooded_followers(tenant: Hostile, stop: threading.Event) -> None:
    """Eight hundred streams of a chat, and messages into it as fast as they are answered."""
    with following(tenant, FOLLOWERS, stop):
        messages = [(f"message {number}" for number in range(20_000)) for _ in range(8)]
        side_by_side([partial(tenant.post, each) for each in messages], stop)


def replayed_histories(tenant: Hostile, stop: threading.Event) -> None:
    """Sixty streams that read megabytes from the beginning, again and again."""
    path = f"{tenant.long_chat}/messages/stream?after=0"
    side_by_side([read_again] * 60, tenant.stack.crud_url, path, stop)


def stalled_streams(tenant: Hostile, stop: threading.Event) -> None:
    """Two hundred streams from the beginning of megabytes of which nothing is read."""
    with stalled(tenant, f"{tenant.long_chat}/messages/stream?after=0", 200):
        stop.wait()


def fleeting_streams(tenant: Hostile, stop: threading.Event) -> None:
    """Streams that are left as soon as they begin, sixteen at once."""
    path = f"{tenant.path}/stream"
    side_by_side([partial(read_again, size=1)] * 16, tenant.stack.crud_url, path, stop)


def read_again(url: str, path: str, stop: threading.Event, size: int = HISTORY_BYTES) -> None:
    """Open a stream and read so many bytes of it, without end."""
    while not stop.is_set():
        with suppress(OSError), opened(url, path) as connection:
            connection.settimeout(5)
            left = size
            while left > 0 and not stop.is_set():
                received = connection.recv(65_536)
                if not received:
                    break
                left -= len(received)


@contextmanager
def following(tenant: Hostile, streams: int, stop: threading.Event) -> Iterator[None]:
    """Streams of the application's chat, of which everything is read as it comes."""
    with ExitStack() as stack, selectors.DefaultSelector() as selector:
        for _ in range(streams):
            connection = stack.enter_context(
                opened(tenant.stack.crud_url, f"{tenant.chat}/messages/stream")
            )
            connection.setblocking(False)
            selector.register(connection, selectors.EVENT_READ)
        reading = threading.Thread(target=read_all, args=(selector, stop))
        reading.start()
        yield
        stop.wait()
        reading.join()


def read_all(selector: selectors.BaseSelector, stop: threading.Event) -> None:
    """Read what comes on all connections, and drop it."""
    while not stop.is_set():
        for key, _ in selector.select(0.5):
            connection = key.fileobj
            assert isinstance(connection, socket.socket)
            with suppress(OSError):
                if not connection.recv(65_536):
                    selector.unregister(connection)


@contextmanager
def opened(url: str, path: str) -> Iterator[socket.socket]:
    """A connection on which a path has been asked for."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), 5) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        yield connection


STREAM_ACTS = {
    act.__name__: act
    for act in (flooded_followers, replayed_histories, stalled_streams, fleeting_streams)
}
