"""One part of the stack as an operating system process: start, stop, and find leftovers."""

import contextlib
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import psutil

from local_stack.failure import StackError
from local_stack.layout import Layout
from local_stack.stores.store_user import StoreUser

# Every process of a stack, and its children, carry the stack's directory in their
# environment: this tells leftovers from unrelated processes.
MARK = "CHAT_STACK_DIRECTORY"
LAUNCHER = Path(__file__).with_name("launch.py")
LOOK_EVERY_SECONDS = 0.1
END_OF_LOG_BYTES = 4096


@dataclass(frozen=True)
class Part:
    """How one part is run, and how to check that it is ready."""

    name: str
    command: tuple[str, ...]
    is_ready: Callable[[], bool]
    environment: Mapping[str, str] = field(default_factory=dict)
    # Further variables, asked for at each start.
    environment_at_start: Callable[[], Mapping[str, str]] = dict
    user: StoreUser = field(default_factory=StoreUser)
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 12.0
    ready_seconds: float = 90.0
    # Finds the process to name in pids/, for a part whose command starts the real one;
    # the command's own until the real one has started.
    find_pid: Callable[[int], int] | None = None
    # Whether another part is about to take the place of this one, which is dead: it is not
    # started again before that.
    is_being_replaced: Callable[[], bool] = lambda: False

    @property
    def kind(self) -> str:
        """Its name without the number that tells it from others of its kind."""
        return kind_of(self.name)


def kind_of(name: str) -> str:
    """Return what a part is: `crud` for crud-1 and crud-2."""
    return re.sub(r"-\d+$", "", name)


class Running:
    def __init__(self, part: Part, layout: Layout):
        self.part = part
        self.layout = layout
        self.started_at = time.monotonic()
        with layout.open_log(part.name) as log:
            self.process = subprocess.Popen(
                launch_command(part.command, part.user, part.stop_signal),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={
                    **os.environ,
                    **part.environment,
                    **part.environment_at_start(),
                    MARK: str(layout.directory),
                },
                start_new_session=True,
            )
        self.pid = self.process.pid
        self.noted_pid = 0
        self.note_pid()

    def note_pid(self) -> None:
        """Keep pids/NAME correct; the real process may start after its command."""
        if self.part.find_pid is not None:
            self.pid = self.part.find_pid(self.process.pid)
        if self.pid == self.noted_pid:
            return
        # A full disk must not stop a working stack: the file is written later.
        with contextlib.suppress(OSError):
            self.layout.write_pid(self.part.name, self.pid)
            self.noted_pid = self.pid

    def is_settled(self) -> bool:
        """Whether pids/NAME is correct, and will stay so for as long as the part lives."""
        if self.noted_pid != self.pid:
            return False
        if self.part.find_pid is None or self.pid != self.process.pid:
            return True
        return self.seconds() > self.part.ready_seconds

    def died(self) -> bool:
        return self.process.poll() is not None

    def how_it_died(self) -> str:
        code = self.process.returncode
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    def wait_ready(self) -> None:
        """Wait until the part is ready; raises StackError when it dies or takes too long."""
        while not self.is_ready():
            time.sleep(0.05)

    def is_ready(self) -> bool:
        """Check once; raises StackError when the part died or has taken too long."""
        ready = self.part.is_ready()
        self.note_pid()
        if not ready and self.died():
            raise StackError(f"{self.part.name} {self.failure(self.how_it_died())}")
        if not ready and self.seconds() > self.part.ready_seconds:
            raise StackError(f"{self.part.name} {self.failure('is not ready')}")
        return ready

    def seconds(self) -> float:
        """For how long it has been running."""
        return time.monotonic() - self.started_at

    def failure(self, how: str) -> str:
        return f"does not start ({how}): {last_line(self.log_path)} [{self.log_path}]"

    @property
    def log_path(self) -> Path:
        return self.layout.logs / f"{self.part.name}.log"

    def ask_to_stop(self) -> None:
        if not self.died():
            # The real process may have started since the last look. Elasticsearch's command, asked
            # in its place, first waits until the server is up, for longer than it is given.
            self.note_pid()
            # The real process may have ended, with its command about to exit.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, self.part.stop_signal)

    def wait_stopped(self) -> None:
        try:
            self.process.wait(self.part.stop_seconds)
        except subprocess.TimeoutExpired:
            kill_group(self.process.pid)
            self.process.wait()

    def stop(self) -> None:
        self.ask_to_stop()
        self.wait_stopped()


def launch_command(
    command: Sequence[str],
    user: StoreUser | None = None,
    death_signal: signal.Signals = signal.SIGTERM,
) -> list[str]:
    """Return a command run by launch.py, which ties it to this process.

    Args:
        command: the path of a program, and its arguments.
        user: runs it; by default ours.
        death_signal: what it is sent when this process dies.
    """
    user = user or StoreUser()
    numbers = (os.getpid(), death_signal, user.uid, user.gid, user.capability)
    # -I and -S: ignore the caller's environment and packages, and start quickly.
    launcher = [sys.executable, "-I", "-S", str(LAUNCHER), *(str(int(n)) for n in numbers)]
    return [*launcher, "--", *command]


def kill_group(pid: int) -> None:
    """Kill a process and all of its group; a group that is gone is fine."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def run_to_end(
    command: Sequence[str],
    log: IO[bytes],
    tell: Callable[[], object],
    environment: Mapping[str, str] | None = None,
    seconds: float = math.inf,
) -> bool:
    """Run a command to its end; return whether it succeeded.

    It is killed, with all processes that it has started, after some seconds or when the wait for it
    is interrupted.

    Args:
        command: the path of a program, and its arguments.
        log: for what it prints.
        tell: called again and again meanwhile.
        environment: its variables; None for ours.
        seconds: how long it may take.
    """
    process = subprocess.Popen(
        launch_command(command),
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    ends_at = time.monotonic() + seconds
    try:
        while process.poll() is None and time.monotonic() < ends_at:
            tell()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(LOOK_EVERY_SECONDS)
    finally:
        kill_group(process.pid)
        process.wait()
    return process.returncode == 0


def last_line(path: Path) -> str:
    """Return the last line of a log, or say why there is none."""
    try:
        with path.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - END_OF_LOG_BYTES))
            lines = log.read().decode(errors="replace").strip().splitlines()
    except OSError:
        return "no log"
    return lines[-1].strip()[:300] if lines else "its log is empty"


def end_leftovers(directory: Path) -> int:
    """End the processes left by an earlier, killed supervisor; returns how many there were."""
    left = [process for process in psutil.process_iter() if is_ours(process, directory)]
    for process in left:
        ask_to_end(process)
    _, alive = psutil.wait_procs(left, timeout=8)
    for process in alive:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(alive, timeout=2)
    return len(left)


def is_ours(process: psutil.Process, directory: Path) -> bool:
    try:
        return bool(process.pid != os.getpid() and process.environ().get(MARK) == str(directory))
    except (psutil.Error, OSError):
        return False


def ask_to_end(process: psutil.Process) -> None:
    """Send a process the signal to end; one that has ended meanwhile is fine.

    PostgreSQL's children end with their first process, before it is their turn.
    """
    with contextlib.suppress(psutil.Error):
        # To PostgreSQL's children SIGTERM means to end a session, and to its first
        # process SIGINT means "fast shutdown".
        is_postgres = process.name() == "postgres"
        process.send_signal(signal.SIGINT if is_postgres else signal.SIGTERM)
