"""Hangs up on clients to whom nothing could be sent for long, while they hold a thread.

The server waits for ever for the rest of a body, and for a reader to go on
reading. A few clients that stop half way, or telephones that lose their
network, would so hold every thread that may be held. The server has no limit
of its own and does not tell us whose connection is whose; but any client that
behaves gets something from us within seconds of its first byte, an answer or
more of one, so one that got nothing for long is in the middle of something.
"""

import fcntl
import os
import socket
import struct
import sys
import termios
import threading
import time
from contextlib import suppress
from functools import cache

from django.conf import settings

LIMIT_SECONDS = 20.0
LOOK_SECONDS = 1.0

_LAST_SENT = struct.Struct("@44xI")  # of struct tcp_info: milliseconds since we sent something
_ESTABLISHED = 1

# When each hold on a thread began. A dictionary's single operations are atomic.
_begun: dict[object, float] = {}


def begin(hold: object) -> None:
    """Note that a client holds a thread from now on."""
    start_watching()
    _begun[hold] = time.monotonic()


def end(hold: object) -> None:
    """Note that it does no longer."""
    _begun.pop(hold, None)


def is_overdue(since: float) -> bool:
    """Whether something that began then has had its time."""
    return time.monotonic() - since >= LIMIT_SECONDS


@cache
def start_watching() -> None:
    """Start the watchdog, once in a process; only Linux tells what it needs to know."""
    if sys.platform == "linux":
        threading.Thread(target=_watch, name="silent-clients", daemon=True).start()


def _watch() -> None:
    while True:
        time.sleep(LOOK_SECONDS)
        if any(is_overdue(begun) for begun in list(_begun.values())):
            for descriptor in os.listdir("/proc/self/fd"):
                hang_up_if_silent(int(descriptor))


def hang_up_if_silent(descriptor: int) -> None:
    """Shut a connection of the server down if nothing went out on it for long.

    Where nothing waits to go out the client did not finish its request: it is
    told so, on the half that stays open.
    """
    with suppress(OSError):
        if not os.readlink(f"/proc/self/fd/{descriptor}").startswith("socket:"):
            return
        with socket.socket(fileno=os.dup(descriptor)) as connection:
            if is_clients(connection) and silent_seconds(connection) >= LIMIT_SECONDS:
                waiting = fcntl.ioctl(connection, termios.TIOCOUTQ, b"\0" * 4)
                connection.shutdown(socket.SHUT_RDWR if any(waiting) else socket.SHUT_RD)


def is_clients(connection: socket.socket) -> bool:
    """Whether a socket is a client's connection, and not ours to a store."""
    if connection.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    return bool(connection.getsockname()[1] == settings.CRUD_PORT)


def silent_seconds(connection: socket.socket) -> float:
    """How long ago something was sent on a connection, or it was opened."""
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_SENT.size)
    return _LAST_SENT.unpack(info)[0] / 1000 if info[0] == _ESTABLISHED else 0.0
