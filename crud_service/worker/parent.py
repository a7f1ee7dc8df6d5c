"""The worker's parent process.

It watches over two children, one for each queue, so that persisting
never waits for indexing. Each is a Celery worker (see `child`), forked from
here once everything is imported: one that was killed is replaced within a moment.
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
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType

from contract.tasks import INDEX_QUEUE, PERSIST_QUEUE
from crud_service.worker.child import prepare, run

logger = logging.getLogger(__name__)

QUEUES = (PERSIST_QUEUE, INDEX_QUEUE)
# A child that gives no sign of life for so long is frozen, and replaced.
SILENT_SECONDS = 10.0
# The children end by themselves sooner than this.
STOP_SECONDS = 9.0
LOOK_SECONDS = 1.0
PAUSE_SECONDS = 0.5


class CannotStart(Exception):
    """A child ended before it was at work: another try would end the same way."""

    def __init__(self, queue: str, code: int) -> None:
        super().__init__(f"the child of the queue {queue} does not start (exit code {code})")
        self.code = code


class Child:
    """The process of a queue, and what was last heard of it.

    `name` stays the same over replacements: by it a child goes on with the lease
    of the one before it.
    """

    def __init__(self, queue: str, host: str) -> None:
        self.queue = queue
        self.name = f"{queue}@{host}"
        self.pid = 0
        self.heartbeat = -1
        self.heard_at = 0.0
        self.is_at_work = False

    def start(self, now: float, close: Callable[[], None]) -> None:
        """Fork the process; `close` is run in it first."""
        reader, writer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(reader)
            close()
            run(self.queue, self.name, writer)
        os.close(writer)
        self.heartbeat, self.heard_at, self.is_at_work = reader, now, False

    def hear(self, now: float) -> bool:
        """Take a sign of life; False when the pipe tells that the process is gone."""
        if not os.read(self.heartbeat, 4096):
            return False
        self.heard_at, self.is_at_work = now, True
        return True

    def signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def bury(self) -> int:
        """Wait for the end of the process; its exit code, negative when a signal ended it."""
        self.signal(signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        os.close(self.heartbeat)
        self.heartbeat = -1
        return os.waitstatus_to_exitcode(status)


class Parent:
    """Starts the children, replaces those that end or freeze, and ends them in order."""

    def __init__(self, queues: Sequence[str] = QUEUES) -> None:
        host = secrets.token_hex(4)
        self.children = [Child(queue, host) for queue in queues]
        self.stopping = False
        # Our own time stands still while we are frozen: children are not to blame for that.
        self.now = 0.0
        self.woken, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.ask_to_stop)

    def ask_to_stop(self, _number: int, _frame: FrameType | None) -> None:
        self.stopping = True

    def run(self) -> None:
        """Watch until a signal asks to stop; raises CannotStart when there is no point."""
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
        """What is the parent's alone: the children must not hear each other's ends."""
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        for child in self.children:
            if child.heartbeat >= 0:
                os.close(child.heartbeat)

    def look(self) -> None:
        """Wait for signs of life, ends and signals; replace who is gone."""
        for child in self.wait(LOOK_SECONDS):
            if not child.hear(self.now):
                self.replace(child)
        for child in self.children:
            if child.is_at_work and self.now - child.heard_at > SILENT_SECONDS:
                logger.error("a child is frozen: replaced", extra={"queue": child.queue})
                self.replace(child)

    def wait(self, seconds: float) -> list[Child]:
        """Wait until something happens; the children that did something."""
        began = time.monotonic()
        pipes = [child.heartbeat for child in self.children if child.heartbeat >= 0]
        ready, _, _ = select.select([self.woken, *pipes], [], [], seconds)
        if self.woken in ready:
            os.read(self.woken, 4096)
        self.now += min(time.monotonic() - began, 2 * LOOK_SECONDS)
        return [child for child in self.children if child.heartbeat in ready]

    def replace(self, child: Child) -> None:
        """Start a child again, unless it has never been at work."""
        code = child.bury()
        if not child.is_at_work and code > 0:
            raise CannotStart(child.queue, code)
        logger.warning("a child died: replaced", extra={"queue": child.queue, "exit_code": code})
        if not child.is_at_work:
            time.sleep(PAUSE_SECONDS)
        self.start(child)

    def stop(self) -> None:
        """End the children in good order, and those that take too long without."""
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
    """Run the worker until it is told to stop."""
    prepare()
    # The one thread beside us writes the log, which starts over in a child.
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
    gc.freeze()  # what is imported stays in memory that the children share
    try:
        Parent().run()
    except CannotStart as error:
        logger.error(str(error))
        sys.exit(error.code)
