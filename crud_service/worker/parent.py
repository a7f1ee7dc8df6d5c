"""The worker's parent process.

It supervises two children, one for each queue, so that persisting never waits for
indexing. Each is a Celery worker (see `child`), forked from this process after all
imports, so that a killed child is replaced quickly.
"""

import gc
import logging
import os
import secrets
import select
import signal
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

from contract.tasks import INDEX_QUEUE, PERSIST_QUEUE
from crud_service.worker.child import prepare, run

logger = logging.getLogger(__name__)

QUEUES = (PERSIST_QUEUE, INDEX_QUEUE)
# Upon which the parent stops.
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
# A child without a heartbeat for this long is frozen, and is replaced.
SILENT_SECONDS = 10.0
# The children exit by themselves sooner than this.
STOP_SECONDS = 9.0
LOOK_SECONDS = 1.0
PAUSE_SECONDS = 0.5


class CannotStart(Exception):
    """A child exited before its first heartbeat: a retry would fail the same way."""

    def __init__(self, queue: str, code: int) -> None:
        super().__init__(f"the child of the queue {queue} does not start (exit code {code})")
        self.code = code


class Child:
    """The process of a queue, and the time of its last heartbeat.

    `name` stays the same when the process is replaced, so that the new one continues
    with the lease of its predecessor.
    """

    def __init__(self, queue: str, host: str) -> None:
        self.queue = queue
        self.name = f"{queue}@{host}"
        self.pid = 0
        self.heartbeat = -1
        self.heard_at = 0.0
        self.is_at_work = False

    def start(self, now: float, close: Callable[[], None]) -> None:
        reader, writer = os.pipe()
        # What reaches the child before `close` has to wait: the parent's handler would take it.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        self.pid = os.fork()
        if self.pid == 0:
            os.close(reader)
            close()
            # A terminal sends SIGINT to the parent, too, which stops the children.
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
            run(self.queue, self.name, writer)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        os.close(writer)
        self.heartbeat, self.heard_at, self.is_at_work = reader, now, False

    def hear(self, now: float) -> bool:
        """Read heartbeats; return False if the pipe is closed, that is, the process ended."""
        if not os.read(self.heartbeat, 4096):
            return False
        self.heard_at, self.is_at_work = now, True
        return True

    def signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def bury(self) -> int:
        """Kill the process and reap it; return its exit code, negative if a signal ended it."""
        self.signal(signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        os.close(self.heartbeat)
        self.heartbeat = -1
        return os.waitstatus_to_exitcode(status)


class Parent:
    """Starts the children, replaces those that exit or freeze, and stops them gracefully."""

    def __init__(self) -> None:
        host = secrets.token_hex(4)
        self.children = [Child(queue, host) for queue in QUEUES]
        self.stopping = False
        # A clock that stops while this process is frozen: children are not to blame for that.
        self.now = 0.0
        self.woken, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake)
        for number in STOP_SIGNALS:
            signal.signal(number, self.ask_to_stop)

    def ask_to_stop(self, _number: int, _frame: FrameType | None) -> None:
        self.stopping = True

    def run(self) -> None:
        """Supervise until a signal asks to stop; raise CannotStart if a child cannot start."""
        try:
            for child in self.children:
                self.start(child)
            while not self.stopping:
                self.look()
        finally:
            self.stop()

    def start(self, child: Child) -> None:
        child.start(self.now, self.close_in_child)

    def close_in_child(self) -> None:
        """In a child, release what belongs to the parent: its signal handlers and its pipes."""
        signal.set_wakeup_fd(-1)
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        for child in self.children:
            if child.heartbeat >= 0:
                os.close(child.heartbeat)

    def look(self) -> None:
        """Wait for heartbeats, exits and signals; replace children that exited or are frozen."""
        for child in self.wait(LOOK_SECONDS):
            if not child.hear(self.now):
                self.replace(child)
        for child in self.children:
            if child.is_at_work and self.now - child.heard_at > SILENT_SECONDS:
                logger.error("a child froze: replaced", extra={"queue": child.queue})
                self.replace(child)

    def wait(self, seconds: float) -> list[Child]:
        """Wait for an event; return the children that sent a heartbeat or exited."""
        began = time.monotonic()
        pipes = [child.heartbeat for child in self.children if child.heartbeat >= 0]
        ready, _, _ = select.select([self.woken, *pipes], [], [], seconds)
        if self.woken in ready:
            os.read(self.woken, 4096)
        self.now += min(time.monotonic() - began, 2 * LOOK_SECONDS)
        return [child for child in self.children if child.heartbeat in ready]

    def replace(self, child: Child) -> None:
        """Restart a child; raise CannotStart if it exited with an error before any heartbeat."""
        code = child.bury()
        if not child.is_at_work and code > 0:
            raise CannotStart(child.queue, code)
        logger.warning("a child died: replaced", extra={"queue": child.queue, "exit_code": code})
        if not child.is_at_work:
            time.sleep(PAUSE_SECONDS)
        self.start(child)

    def stop(self) -> None:
        """Stop the children gracefully; kill those that take longer than STOP_SECONDS."""
        alive = [child for child in self.children if child.heartbeat >= 0]
        for child in alive:
            child.signal(signal.SIGTERM)
        until = self.now + STOP_SECONDS
        while alive and self.now < until:
            for child in self.wait(LOOK_SECONDS):
                if not child.hear(self.now):
                    child.bury()
                    alive.remove(child)
        for child in alive:
            child.bury()


def main() -> None:
    """Run the worker until SIGTERM; exit with an error code if it cannot start."""
    prepare()
    # The only other thread writes the log, which is set up anew in a child.
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
    gc.freeze()  # keeps imported objects in memory pages that the children share
    try:
        Parent().run()
    except CannotStart as error:
        logger.error(str(error))
        sys.exit(error.code)
