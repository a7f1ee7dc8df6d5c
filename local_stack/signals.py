"""Waits for signals, including a child's death, without polling."""

import contextlib
import select
import signal
import socket
from typing import Self


class SignalWait:
    """Context in which any signal that has a handler ends a `wait`.

    A signal between two waits ends the next one, so none is missed.
    """

    def __enter__(self) -> Self:
        self._woken, waking = socket.socketpair()
        self._waking = waking
        for end in (self._woken, waking):
            end.setblocking(False)
        # Without a handler the kernel does not deliver SIGCHLD at all.
        self._handler_before = signal.signal(signal.SIGCHLD, lambda *_: None)
        self._descriptor_before = signal.set_wakeup_fd(waking.fileno(), warn_on_full_buffer=False)
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._descriptor_before)
        signal.signal(signal.SIGCHLD, self._handler_before)
        self._woken.close()
        self._waking.close()

    def wait(self, seconds: float | None) -> None:
        """Wait for a signal, for at most `seconds` (None: without limit)."""
        select.select([self._woken], [], [], seconds)
        with contextlib.suppress(BlockingIOError):
            while self._woken.recv(4096):
                pass
