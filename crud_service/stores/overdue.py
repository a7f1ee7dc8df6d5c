"""Ends what PostgreSQL does not answer in time.

A server that is frozen, or a network that swallows packets, neither answers
nor hangs up, and psycopg would wait for ever: one such moment would take every
thread. So a watchdog hangs up on connections whose work is overdue; whoever
waits for one gets an error at once, which is a 503 for the client.
"""

import os
import socket
import threading
import time
from contextlib import suppress
from functools import cache

import psycopg

LIMIT_SECONDS = 4.0
LOOK_SECONDS = 0.25

# When the work on each connection began. A dictionary's single operations are atomic.
_begun: "dict[psycopg.Connection, float]" = {}


def begin(connection: psycopg.Connection) -> None:
    """Note that work on a connection begins."""
    start_watching()
    _begun[connection] = time.monotonic()


def end(connection: psycopg.Connection) -> None:
    """Note that it has ended, one way or another."""
    _begun.pop(connection, None)


@cache
def start_watching() -> None:
    """Start the watchdog, once in a process."""
    threading.Thread(target=_watch, name="overdue-statements", daemon=True).start()


def _watch() -> None:
    while True:
        time.sleep(LOOK_SECONDS)
        overdue = time.monotonic() - LIMIT_SECONDS
        for connection, begun in list(_begun.items()):
            if begun < overdue:
                hang_up(connection)


def hang_up(connection: "psycopg.Connection | psycopg.AsyncConnection") -> None:
    """Shut the connection's socket down under whoever waits for it, without closing it."""
    with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as it:
        it.shutdown(socket.SHUT_RDWR)
