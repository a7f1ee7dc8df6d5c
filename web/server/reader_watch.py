"""Notices a client that reads nothing: slow is fine, as long as something is read."""

import asyncio
import fcntl
import struct
import termios

from web.server import limits

_INT = struct.Struct("i")


class ReaderWatch:
    """Aborts a connection whose client takes nothing of an answer for too long."""

    __slots__ = ("_loop", "_timer", "_transport")

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport) -> None:
        self._loop = loop
        self._transport = transport
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Expect the client to read."""
        if self._timer is None:
            self._wait(self._unread_bytes())

    def stop(self) -> None:
        """Expect nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self, unread: int) -> None:
        self._timer = self._loop.call_later(limits.WRITE_SECONDS, self._check, unread)

    def _check(self, unread: int) -> None:
        still_unread = self._unread_bytes()
        if 0 < still_unread < unread:
            self._wait(still_unread)
        else:
            self._transport.abort()

    def _unread_bytes(self) -> int:
        """What is left of an answer here, and in the system, which buffers megabytes."""
        connection = self._transport.get_extra_info("socket")
        try:
            in_system = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, b"\0" * _INT.size)
        except OSError:  # the connection is closed
            return 0
        return self._transport.get_write_buffer_size() + int(_INT.unpack(in_system)[0])
