"""Runs a service's HTTP server: uvicorn's options, signals and exit codes."""

import asyncio
import ctypes
import signal
import socket
import sys
from collections.abc import Callable, Set
from contextlib import suppress
from errno import EADDRNOTAVAIL, EAFNOSUPPORT, EINVAL
from functools import partial
from types import FrameType
from typing import Any, cast

import uvicorn

from web.server.limits import (
    ACCEPTS_A_TURN,
    GRACE_SECONDS,
    LIMITS,
    Limits,
    raise_descriptor_limit,
)
from web.server.protocol import Protocol

# Each waiting thread may hold the interpreter lock (GIL) for this long before the event loop has
# its turn, and the loop needs a turn for every piece of data that arrives. With Python's 5 ms, a
# liveness probe beside thirty busy threads took 3.5 s at the worst; with this, 0.4 s.
SWITCH_SECONDS = 0.0005
MAX_PORT = 65_535
# glibc's malloc gives every thread a heap of its own, which keeps what large answers needed.
HEAPS = 2
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_M_ARENA_MAX = -8  # malloc.h


def options(host: str, port: int, limits: Limits = LIMITS) -> dict[str, Any]:
    """Return the options for uvicorn: its keyword arguments.

    Args:
        host: the address to listen on.
        port: the TCP port.
        limits: what the process holds, and how long it waits.
    """
    return {
        "factory": True,
        "host": host,
        "port": port,
        "http": partial(Protocol, limits=limits),
        "ws": "none",
        "loop": "uvloop",
        "access_log": False,
        "log_config": None,
        "server_header": False,
        "proxy_headers": False,
        "backlog": 4096,
        "timeout_graceful_shutdown": GRACE_SECONDS,
    }


def exit_on_signals() -> None:
    """Make the process exit with 0: uvicorn raises the signal again after a shutdown."""
    for number in STOP_SIGNALS:
        signal.signal(number, _exit)


def _exit(*_: object) -> None:
    for number in STOP_SIGNALS:  # a second one would interrupt what the interpreter does at its end
        signal.signal(number, signal.SIG_IGN)
    sys.exit(0)


def listening_sockets(host: str, port: int) -> list[socket.socket]:
    """Bind a port on all addresses of a host; exit with 1 and a line on stderr where that fails.

    Args:
        host: an address or a name; empty for all addresses of this machine.
        port: the TCP port, 0 for any.

    Returns:
        Several copies of each socket. libuv accepts one connection of each in an iteration of the
        loop (since 1.45). With a single one, a client that opens many connections delays those of
        others, by seconds on a busy loop.
    """
    try:
        bound = _bind_all(host, port)
    except OSError as error:
        sys.exit(f"cannot listen on {host}, port {port}: {error.strerror}")
    except UnicodeError:  # a part of the name is empty or too long
        sys.exit(f"cannot listen on {host}, port {port}: not the name of a host")
    return [*bound, *(each.dup() for each in bound for _ in range(ACCEPTS_A_TURN - 1))]


def _bind_all(host: str, port: int) -> list[socket.socket]:
    if port > MAX_PORT:  # getaddrinfo takes the rest of dividing by 65,536
        raise OSError(EINVAL, f"a port is at most {MAX_PORT}")
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    bound: list[socket.socket] = []
    for family, address in dict.fromkeys((each[0], each[4]) for each in found):
        try:
            bound.append(_bind(family, address))
        except OSError as error:
            # A name may have an IPv6 address where that is switched off.
            if error.errno not in {EADDRNOTAVAIL, EAFNOSUPPORT}:
                raise
            unavailable = error
    if not bound:
        raise unavailable
    return bound


def _bind(family: int, address: Any) -> socket.socket:
    sock = socket.socket(family)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:  # a name has its IPv4 address besides
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    try:
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    return sock


class QuietServer(uvicorn.Server):
    """uvicorn's server, whose main loop ticks once a second instead of ten times.

    A tick renews the date and checks for a request to stop, which also wakes the loop.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._asked_to_stop = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def main_loop(self) -> None:
        self._loop = asyncio.get_running_loop()
        # uvicorn renews the date when its tick count is a multiple of ten: hence the 0.
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self._asked_to_stop.wait()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._asked_to_stop.set)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Shut down gracefully, also those connections that uvicorn does not know yet.

        One that was accepted in this iteration of the loop is made after uvicorn has notified the
        others. It would be kept open, and the process with it, until the grace period ends.
        """
        notified = set(self.server_state.connections)
        asyncio.get_running_loop().call_soon(self._shut_down_all_but, notified)
        await super().shutdown(sockets)

    def _shut_down_all_but(self, notified: Set[Any]) -> None:
        for connection in self.server_state.connections - notified:
            connection.shutdown()


def limit_heaps() -> None:
    """Have all threads allocate from a few heaps; does nothing where malloc has no such option."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, HEAPS)


def prepare_process(limits: Limits) -> None:
    """Set what concerns the whole process that serves."""
    raise_descriptor_limit(limits)
    limit_heaps()
    sys.setswitchinterval(SWITCH_SECONDS)
    exit_on_signals()


def serve(
    factory: str | Callable[[], object], host: str, port: int, limits: Limits = LIMITS
) -> None:
    """Serve an application in this process until SIGTERM.

    The process ends with 1 if it cannot listen, and with 3 if the application does not start.

    Args:
        factory: makes the application; a function, or its name as `module:function`.
        host: the address to listen on.
        port: the TCP port.
        limits: what the process holds, and how long it waits.
    """
    sockets = listening_sockets(host, port)
    prepare_process(limits)
    # On SIGHUP a single process shuts down gracefully, to be started again.
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # which is what nohup sets
        signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
    QuietServer(uvicorn.Config(cast("Any", factory), **options(host, port, limits))).run(sockets)
