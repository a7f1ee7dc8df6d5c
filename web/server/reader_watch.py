"""Detects a client that reads nothing; a slow one is fine, as long as it reads something."""

import asyncio
import fcntl
import struct
import termios

# How often within those seconds it is checked whether the client has read anything.
CHECKS = 10
_INT = struct.Struct("i")


class ReaderWatch:
    """Aborts a connection whose client reads nothing of an answer for some seconds.

    What the kernel hands on as the answer begins looks like a read, so a single check at the end
    would let a client that never reads stay for twice as long.
    """

    __slots__ = ("_idle_checks", "_loop", "_pause", "_timer", "_transport", "_unread")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport, seconds: float
    ) -> None:
        self._loop = loop
        self._pause = seconds / CHECKS
        self._transport = transport
        self._timer: asyncio.TimerHandle | None = None
        self._unread = self._idle_checks = 0

    def start(self) -> None:
        """Start to expect reads by the client."""
        if self._timer is None:
            self._unread, self._idle_checks = self._unread_bytes(), 0
            self._wait()

    def stop(self) -> None:
        """Stop expecting reads."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self) -> None:
        self._timer = self._loop.call_later(self._pause, self._check)

    def _check(self) -> None:
        unread = self._unread_bytes()
        self._idle_checks = 0 if 0 < unread < self._unread else self._idle_checks + 1
        self._unread = unread
        if self._idle_checks < CHECKS:
            self._wait()
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
