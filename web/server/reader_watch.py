"""Detects a client that reads nothing; a slow one is fine, as long as it reads something."""

import asyncio
import fcntl
import struct
import termios

_INT = struct.Struct("i")


class ReaderWatch:
    """Aborts a connection whose client reads nothing of an answer for some seconds."""

    __slots__ = ("_loop", "_seconds", "_timer", "_transport")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport, seconds: float
    ) -> None:
        self._loop = loop
        self._seconds = seconds
        self._transport = transport
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Start to expect reads by the client."""
        if self._timer is None:
            self._wait(self._unread_bytes())

    def stop(self) -> None:
        """Stop expecting reads."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self, unread: int) -> None:
        self._timer = self._loop.call_later(self._seconds, self._check, unread)

    def _check(self, unread: int) -> None:
        still_unread = self._unread_bytes()
        if 0 < still_unread < unread:
            self._wait(still_unread)
        else:
            self._transport.abort()

    def _unread_bytes(self) -> int:
        """Return the unread bytes of an answer, here and in the kernel, which buffers megabytes."""
        connection = self._transport.get_extra_info("socket")
        try:
            in_system = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, b"\0" * _INT.size)
        except OSError:  # the connection is closed
            return 0
        return self._transport.get_write_buffer_size() + int(_INT.unpack(in_system)[0])
