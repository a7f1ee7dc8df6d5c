"""Several serving processes on one port, and the parent that starts, replaces and ends them.

Each is spawned, so that a successor loads the code as it is on disk. Whatever the parent waits for,
it notices a signal at once.
"""

import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from math import inf
from multiprocessing import connection, get_context, parent_process, resource_tracker
from types import FrameType

import uvicorn
from uvicorn.config import STARTUP_FAILURE

from numbering_service.settings import Settings
from web.process_signals import signal_when_parent_dies
from web.server.limits import Limits
from web.server.serving import STOP_SIGNALS, QuietServer, options, prepare_process

logger = logging.getLogger(__name__)

SERVICE = "numbering_service.main:build"
SPAWN = get_context("spawn")
# A terminal sends these to all processes of its group. Ours leave them to their parent.
LEFT_TO_PARENT = (signal.SIGINT, signal.SIGHUP)
BEAT_SECONDS = 1.0
# A process without a heartbeat for this long is frozen. A successor must be ready within the same
# time. A start takes two seconds, and many more on a busy machine.
SILENT_SECONDS = 30.0
# All processes have ended within this time after a signal, by themselves or killed; those without a
# heartbeat, which are frozen or have not begun to serve, sooner.
STOP_SECONDS = 9.0
SILENT_AT_END_SECONDS = 5.0
LOOK_SECONDS = 1.0
PAUSE_SECONDS = 0.5

# Where a process shares its metrics: what prometheus_client has a file for, and the size with which
# it begins; they use less than half of it.
SHARED_METRICS = "PROMETHEUS_MULTIPROC_DIR"
KINDS_OF_METRICS = ("counter", "histogram")
METRICS_BYTES = 64 * 1024


class Process:
    """A serving process, seen from its parent.

    `deadline` is when it is killed, unless a heartbeat or its end comes first, and `last_deadline`
    whatever comes.
    """

    def __init__(
        self, settings: Settings, limits: Limits, sockets: Sequence[socket.socket], now: float
    ) -> None:
        self.heartbeat, writer = SPAWN.Pipe(duplex=False)
        self.started_at = now
        self.deadline = now + SILENT_SECONDS
        self.last_deadline = inf
        self.is_ready = self.is_ending = False
        self.process = SPAWN.Process(target=serve, args=(settings, limits, sockets, writer))
        # What launches the first process, too, and would unblock SIGINT.
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, LEFT_TO_PARENT)  # which the process inherits
        self.process.start()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, LEFT_TO_PARENT)
        writer.close()

    def hear(self, now: float) -> bool:
        """Read a heartbeat, which says whether it is ready; return False if it has ended."""
        try:
            self.is_ready = self.heartbeat.recv()
        except (EOFError, OSError):
            return False
        self._wait_on(now)
        return True

    def end(self, now: float) -> None:
        """Ask it to shut down gracefully, in time."""
        if not self.is_ending:
            self.is_ending, self.last_deadline = True, now + STOP_SECONDS
            self._wait_on(now)
            self.process.terminate()

    def _wait_on(self, now: float) -> None:
        """Wait for the next heartbeat."""
        seconds = SILENT_AT_END_SECONDS if self.is_ending else SILENT_SECONDS
        self.deadline = min(now + seconds, self.last_deadline)

    def bury(self) -> int:
        """Reap it after its heartbeat ended; return its exit code, negative for a signal."""
        self.process.join(PAUSE_SECONDS)  # it may just be about to exit
        self.process.kill()
        self.process.join()
        self.heartbeat.close()
        return self.process.exitcode or 0


class Processes:
    """Starts the processes, replaces those that die or freeze, and stops them gracefully.

    On SIGHUP it replaces one after another: `outdated` are those that are still to be replaced,
    and `successor` is the process that is starting in place of the first of them.
    """

    def __init__(
        self, settings: Settings, limits: Limits, sockets: Sequence[socket.socket]
    ) -> None:
        self._count = settings.processes
        self._sockets = sockets
        # A clock that stops while this process is frozen: the others are not to blame for that.
        self._now = 0.0
        self._start = partial(Process, settings, limits, sockets)
        self._processes: list[Process] = []
        self._outdated: list[Process] = []
        self._successor: Process | None = None
        self._stopping = self._asked_to_replace = False
        self._exit_code = 0
        self._woken, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake)
        for number in STOP_SIGNALS:
            signal.signal(number, self._ask_to_stop)
        signal.signal(signal.SIGHUP, self._ask_to_replace)

    def _ask_to_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def _ask_to_replace(self, _number: int, _frame: FrameType | None) -> None:
        self._asked_to_replace = True

    def run(self) -> int:
        """Supervise until a signal asks to stop, or no process can start; return the exit code."""
        try:
            for _ in range(self._count):
                self._add()
            while not self._stopping:
                self._look()
        finally:
            self._stop()
        return self._exit_code

    def _add(self) -> Process:
        self._processes.append(self._start(self._now))
        return self._processes[-1]

    def _look(self) -> None:
        """Wait for heartbeats, ends and signals, and do what follows from them."""
        for process in self._wait():
            if not process.hear(self._now):
                self._note_end(process)
        self._kill_overdue()
        if self._asked_to_replace:
            self._asked_to_replace = False
            self._outdated = [process for process in self._processes if not process.is_ending]
        self._replace_next()

    def _wait(self) -> list[Process]:
        """Wait for an event; return the processes that sent a heartbeat or ended."""
        began = time.monotonic()
        next_deadline = min((process.deadline for process in self._processes), default=self._now)
        seconds = min(max(next_deadline - self._now, 0.1), LOOK_SECONDS)
        ready = connection.wait(
            [self._woken, *(process.heartbeat for process in self._processes)], seconds
        )
        if self._woken in ready:
            os.read(self._woken, 4096)
        self._now += min(time.monotonic() - began, 2 * LOOK_SECONDS)
        return [process for process in self._processes if process.heartbeat in ready]

    def _note_end(self, process: Process) -> None:
        """Start another process in place of one that died; a failed successor is given up."""
        code = process.bury()
        self._processes.remove(process)
        extra = {"pid": process.process.pid, "exit_code": code}
        if process is self._successor:
            logger.error("a new process was not ready: none is replaced", extra=extra)
            self._successor, self._outdated = None, []
        elif not process.is_ending:
            self._replace_dead(process, extra)

    def _replace_dead(self, process: Process, extra: dict[str, int | None]) -> None:
        if extra["exit_code"] == STARTUP_FAILURE and not process.is_ready:
            self._stopping, self._exit_code = True, STARTUP_FAILURE
            return
        logger.warning("a process died: replaced", extra=extra)
        if not process.is_ready:
            time.sleep(PAUSE_SECONDS)
        if process in self._outdated:
            self._outdated.remove(process)
            if self._successor is not None:  # which takes this one's place
                self._successor = None
                return
        self._add()

    def _kill_overdue(self) -> None:
        """Kill what is frozen, or not ready or not ended in time; its end is noted as any other."""
        if self._successor and self._now - self._successor.started_at > SILENT_SECONDS:
            self._successor.process.kill()
        for process in self._processes:
            if self._now >= process.deadline:
                process.process.kill()

    def _replace_next(self) -> None:
        """Take the next step of replacing one process after another."""
        if self._successor is None:
            if self._outdated and not any(process.is_ending for process in self._processes):
                self._successor = self._add()
        elif self._successor.is_ready:
            self._successor = None
            self._outdated.pop(0).end(self._now)

    def _stop(self) -> None:
        """Stop all processes gracefully; kill those that take longer than STOP_SECONDS."""
        # All processes share the sockets: while the parent listens, the kernel keeps accepting
        # connections, and resets them with their requests at the end.
        for listening in self._sockets:
            listening.close()
        for process in self._processes:
            process.end(self._now)
        while self._processes:
            for process in self._wait():
                if not process.hear(self._now):
                    process.bury()
                    self._processes.remove(process)
            self._kill_overdue()


def serve(
    settings: Settings,
    limits: Limits,
    sockets: list[socket.socket],
    heartbeat: connection.Connection,
) -> None:
    """Serve until SIGTERM, in a process of its own, and send its parent heartbeats."""
    end_with_parent()
    chosen = options(settings.host, settings.port, limits)
    server = QuietServer(uvicorn.Config(SERVICE, **chosen))
    threading.Thread(target=beat, args=(server, heartbeat), name="heartbeat", daemon=True).start()
    prepare_process(limits)
    reserve_metrics()
    server.run(sockets)


def reserve_metrics() -> None:
    """Allocate the files of this process's metrics; share none if the disk has no room for them.

    Those that prometheus_client makes have holes, into which it writes through memory: on a full
    disk the system would kill the process for it.
    """
    if sys.platform == "darwin":
        return  # it has no such call
    directory = os.environ[SHARED_METRICS]
    paths = [f"{directory}/{kind}_{os.getpid()}.db" for kind in KINDS_OF_METRICS]
    try:
        for path in paths:
            # Counts of an ended process with the same id go on.
            with open(path, "ab") as file:
                os.posix_fallocate(file.fileno(), 0, METRICS_BYTES)
    except OSError as error:
        del os.environ[SHARED_METRICS]
        with suppress(OSError):  # the log may be on the same disk
            logger.warning("metrics are not shared", extra={"reason": str(error)})
        for path in paths:
            with suppress(OSError):
                os.unlink(path)


def beat(server: QuietServer, heartbeat: connection.Connection) -> None:
    """Tell the parent again and again that this process runs, and whether it is ready."""
    while True:
        try:
            heartbeat.send(server.started)
        except OSError:  # the parent has died
            return
        time.sleep(BEAT_SECONDS if server.started else BEAT_SECONDS / 10)


def end_with_parent() -> None:
    """Have Linux send SIGTERM when the parent dies.

    Otherwise the children of a killed parent would go on serving on the port,
    and a new parent could not bind it.
    """
    signal_when_parent_dies(signal.SIGTERM)
    parent = parent_process()
    if parent is not None and os.getppid() != parent.pid:
        sys.exit("numbering_service: the parent died before this process was ready")
