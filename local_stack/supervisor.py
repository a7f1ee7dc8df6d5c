"""Starts parts, restarts them when they die, and stops them in order."""

import contextlib
import select
import signal
import socket
import time
from collections.abc import Callable, Sequence
from typing import Self

from local_stack.console import Waiting, done, paint, say
from local_stack.failure import StackError, explain
from local_stack.layout import Layout
from local_stack.process import Part, Running, kill_group

# Returns in how many seconds to call it again; None: not before something happens.
Meanwhile = Callable[[], float | None]

# How often to check a part whose real process has not started yet.
SETTLING_SECONDS = 0.2
# A part that lived this long was healthy: it is restarted at once when it dies.
WELL_AFTER_SECONDS = 10.0
FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 10.0
# How often to look for logs that have become large: a part may write some MB in a second.
ROTATE_EVERY_SECONDS = 60.0
# For how long a part stays dead that another one is about to replace, also on a busy machine.
REPLACED_WITHIN_SECONDS = 30.0


def pause_before_restart(deaths_in_a_row: int, longest: float = LONGEST_PAUSE_SECONDS) -> float:
    """Return the exponential back-off: none after a first death, then doubling, up to `longest`."""
    if deaths_in_a_row <= 1:
        return 0.0
    return float(min(FIRST_PAUSE_SECONDS * 2 ** (deaths_in_a_row - 2), longest))


class Watched:
    def __init__(self, part: Part, layout: Layout, longest_pause: float):
        self.part = part
        self.layout = layout
        self.longest_pause = longest_pause
        self.running = Running(part, layout)
        self.deaths_in_a_row = 0
        self.start_again_at: float | None = None
        self.replaced_until = 0.0

    def watch(self) -> float | None:
        """Check once: note a death, or restart the part when the pause is over.

        Returns in how many seconds to check again if nothing happens before; None
        for a running part, whose death is signalled.
        """
        if self.start_again_at is None and self.running.died():
            self.note_death()
        if self.start_again_at is not None:
            if (pause := self.pause(self.start_again_at)) > 0:
                return pause
            self.start_again()
            if self.start_again_at is not None:
                return self.longest_pause
        self.running.note_pid()
        return None if self.running.is_settled() else SETTLING_SECONDS

    def pause(self, start_again_at: float) -> float:
        """Return in how many seconds to check whether to restart the part; 0 restarts it."""
        now = time.monotonic()
        if start_again_at <= now < self.replaced_until and self.part.is_being_replaced():
            return SETTLING_SECONDS
        return max(start_again_at - now, 0.0)

    def note_death(self) -> None:
        """Decide when to restart, and kill everything left of the dead process."""
        kill_group(self.running.process.pid)
        was_well = self.running.seconds() > WELL_AFTER_SECONDS
        self.deaths_in_a_row = 1 if was_well else self.deaths_in_a_row + 1
        pause = pause_before_restart(self.deaths_in_a_row, self.longest_pause)
        self.start_again_at = time.monotonic() + pause
        when = f" in {pause:g} s" if pause else ""
        if self.part.is_being_replaced():
            self.replaced_until = time.monotonic() + REPLACED_WITHIN_SECONDS
            when = " once another has taken its place"
        how = self.running.how_it_died()
        death = paint(f"{self.part.name} died ({how})", "yellow")
        say(f"{death}, restarting it{when}; {self.running.log_path}")

    def start_again(self) -> None:
        self.start_again_at = None
        try:
            self.running = Running(self.part, self.layout)
        except (OSError, StackError) as error:
            # No room for its log, no memory for a process, sources that are not compiled: this may
            # be transient.
            why = explain(error, self.layout.directory) if isinstance(error, OSError) else error
            say(f"{self.part.name} can't be started now: {why}")
            self.start_again_at = time.monotonic() + self.longest_pause


class Supervisor:
    """All parts of one stack. Single-threaded on purpose: a part's death signal is
    tied to the thread that started it, so that thread has to live as long as the parts."""

    def __init__(self, layout: Layout, longest_pause: float = LONGEST_PAUSE_SECONDS):
        self.layout = layout
        self.longest_pause = longest_pause
        self.watched: list[Watched] = []
        self.stopping = False
        self.rotate_at = 0.0

    def ask_to_stop(self) -> None:
        """Ask the loop to stop. Safe in a signal handler: all else happens in the loop."""
        self.stopping = True

    def start(self, parts: Sequence[Part]) -> list[Running]:
        started = []
        for part in parts:  # one after another, so that all before a failure are stopped in the end
            self.watched.append(Watched(part, self.layout, self.longest_pause))
            started.append(self.watched[-1].running)
        return started

    def wait_ready(self, parts: Sequence[Running]) -> None:
        """Wait for all parts at once, and print when each is ready."""
        waiting, pending = Waiting(), list(parts)
        while pending:
            for running in [running for running in pending if running.is_ready()]:
                done(running.part.name, running.seconds())
                pending.remove(running)
            if pending:
                names = ", ".join(running.part.name for running in pending)
                waiting.tell(f"waiting for {names}")
                time.sleep(0.05)

    def run(self, meanwhile: Meanwhile = lambda: None) -> None:
        """Supervise the parts until asked to stop; sleep while nothing happens."""
        with SignalWait() as signals:
            while not self.stopping:
                waits = [*(watched.watch() for watched in self.watched), meanwhile()]
                waits.append(self.rotate_logs())
                if not self.stopping:
                    signals.wait(min((wait for wait in waits if wait is not None), default=None))

    def rotate_logs(self) -> float:
        """Rotate large logs when it is time to; return in how many seconds to call it again."""
        now = time.monotonic()
        if now >= self.rotate_at:
            self.layout.rotate_logs()
            self.rotate_at = now + ROTATE_EVERY_SECONDS
        return self.rotate_at - now

    def stop(self, in_order: Sequence[str] = ()) -> None:
        """Stop the named kinds of parts one after another, then the others concurrently."""
        left = [watched.running for watched in self.watched]
        for kind in in_order:
            stop_all([running for running in left if running.part.kind == kind])
            left = [running for running in left if running.part.kind != kind]
        stop_all(left)
        for watched in self.watched:
            kill_group(watched.running.process.pid)
        self.watched = []


def stop_all(parts: Sequence[Running]) -> None:
    for running in parts:
        running.ask_to_stop()
    for running in parts:
        running.wait_stopped()


class SignalWait:
    """Context in which any signal that has a handler, also that of a child's death, ends a `wait`.

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
