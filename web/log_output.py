"""Writes log lines to a descriptor in the background: a caller never blocks and never fails.

A thread writes them. A full disk, a full pipe whose reader is stuck, or a closed pipe
costs log lines and nothing else: what does not fit is dropped and counted, and once
there is room again, a line in the log says how many are missing.
"""

import atexit
import errno
import json
import os
import select
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from multiprocessing.util import Finalize
from weakref import WeakSet

# Bytes that may wait for a stuck reader; the writing thread may hold as much again.
MAX_PENDING_BYTES = 4 * 1024 * 1024
# How long an exiting process waits for its last lines to be written.
DRAIN_SECONDS = 1.0

NEWLINE = b"\n"
# Formatting a number takes four times as long as looking it up.
_THREE_DIGITS = [f"{number:03}" for number in range(1000)]


class LogOutput:
    """Writes whole lines to a descriptor; `on_drop` is called with the number of lines dropped."""

    def __init__(
        self, descriptor: int, service: str = "", on_drop: Callable[[int], object] = lambda _: None
    ) -> None:
        self._descriptor = descriptor
        self._service = service
        self._on_drop = on_drop
        # Whether a full disk truncated the last line.
        self._is_cut = False
        self.start_over()
        _outputs.add(self)

    def start_over(self) -> None:
        """Reset to nothing pending and no thread: in a forked child both belong to its parent."""
        self._unreported = 0
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._is_writing = False
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()

    def write(self, lines: bytes) -> None:
        """Queue whole lines; drops them when too much is pending."""
        with self._changed:
            fits = self._pending_bytes + len(lines) <= MAX_PENDING_BYTES
            if fits:
                self._pending.append(lines)
                self._pending_bytes += len(lines)
                if self._thread is None:
                    self._start_thread()
                self._changed.notify_all()
        if not fits:
            self._drop(lines.count(NEWLINE))

    def _start_thread(self) -> None:
        self._thread = threading.Thread(target=self._write_forever, name="log", daemon=True)
        self._thread.start()

    def drain(self, seconds: float = DRAIN_SECONDS) -> bool:
        """Wait until everything is written or dropped; false when that takes too long."""
        with self._changed:
            return self._changed.wait_for(self._is_idle, seconds)

    def _is_idle(self) -> bool:
        return not self._pending and not self._is_writing

    def _write_forever(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pending)
                lines = b"".join(self._pending)
                self._pending.clear()
                self._pending_bytes = 0
                self._is_writing = True
            self._write(lines)
            with self._changed:
                self._is_writing = False
                self._changed.notify_all()

    def _write(self, lines: bytes) -> None:
        """Write lines, preceded by a notice of those dropped before, as far as there is room."""
        reported = self._unreported
        notice = (NEWLINE if self._is_cut else b"") + self._notice(reported)
        data = notice + lines
        written = write_all(self._descriptor, data)
        if written:
            self._is_cut = data[written - 1 : written] != NEWLINE
        if written >= len(notice):
            with self._changed:
                self._unreported -= reported
        if written < len(data):
            self._drop(data[max(written, len(notice)) :].count(NEWLINE))

    def _notice(self, dropped: int) -> bytes:
        if not dropped:
            return b""
        moment = timestamp(time.time_ns() // 1_000_000)
        line: dict[str, object] = {"time": moment, "level": "warning", "service": self._service}
        line |= {"message": "log lines dropped", "lines": dropped}
        return json.dumps(line).encode() + NEWLINE

    def _drop(self, lines: int) -> None:
        with self._changed:
            self._unreported += lines
        self._on_drop(lines)


def timestamp(milliseconds: int) -> str:
    """Return milliseconds since 1970 as a UTC time of RFC 3339."""
    return f"{_second(milliseconds // 1000)}.{_THREE_DIGITS[milliseconds % 1000]}Z"


@lru_cache(maxsize=2)  # of the lines that are written now
def _second(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"


def write_all(descriptor: int, data: bytes) -> int:
    """Write data, however long its reader takes; returns how many bytes before an error."""
    view, written = memoryview(data), 0
    while written < len(data):
        try:
            written += os.write(descriptor, view[written:])
        except OSError as error:
            # Another process that shares the descriptor may have made it non-blocking.
            if error.errno != errno.EAGAIN:
                return written
            wait_for_room(descriptor)
    return written


def wait_for_room(descriptor: int) -> None:
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    poll.poll()


_outputs: WeakSet[LogOutput] = WeakSet()


def start_all_over() -> None:
    for output in _outputs:
        output.start_over()


def drain_all() -> None:
    """Write what all outputs still hold; called at the end of the process."""
    for output in _outputs:
        output.drain()


os.register_at_fork(after_in_child=start_all_over)
atexit.register(drain_all)
# Children of multiprocessing skip atexit. Callers must flush into an output before this runs.
Finalize(None, drain_all, exitpriority=0)
