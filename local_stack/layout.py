"""The files in the directory of a stack, usually `.local/`.

stack.env         addresses and secrets, for `set -a; . .local/stack.env`; while it runs
pids/NAME         process id of each part, current across restarts; while it runs
log/NAME.log      output of each part; NAME.log.1 has what came before it
secrets.json      made once, mode 600
ports.json        ports of the stores, kept between runs where still free
supervisor.lock   held by the supervisor that runs here
postgres/ valkey/ elasticsearch/    data
"""

import contextlib
import fcntl
import json
import os
import secrets
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import psutil

from local_stack.failure import StackError

NEEDED_FREE_BYTES = 400 * 1024 * 1024
LOG_ROTATED_AT_BYTES = 64 * 1024 * 1024
SECRETS = ("INTERNAL_TOKEN", "SECRET_KEY", "ADMIN_PASSWORD", "POSTGRES_PASSWORD")


class Layout:
    def __init__(self, directory: Path):
        self.directory = directory.resolve()
        self.pids = self.directory / "pids"
        self.logs = self.directory / "log"
        self.ports = self.directory / "ports.json"
        self.stack_env = self.directory / "stack.env"
        self.lock_file = self.directory / "supervisor.lock"

    def create(self) -> None:
        """Make the directories; raises StackError when the disk has no room for data."""
        for directory in (self.directory, self.pids, self.logs):
            directory.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(self.directory).free < NEEDED_FREE_BYTES:
            megabytes = NEEDED_FREE_BYTES // 1024 // 1024
            raise StackError(
                f"the disk that holds {self.directory} is full: starting takes {megabytes} MB"
            )

    def lock(self, advice: str = "") -> IO[str]:
        """Lock the directory for one supervisor; the kernel releases the lock when it dies.

        Raises StackError, with some advice, when another one has it.
        """
        handle = self.lock_file.open("a+")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with handle:
                handle.seek(0)
                holder = handle.read().strip()
            raise StackError(
                f"a stack is already running in {self.directory} (supervisor {holder}){advice}"
            ) from None
        handle.truncate(0)
        handle.write(f"{os.getpid()}\n")
        handle.flush()
        return handle

    def supervisor(self) -> psutil.Process | None:
        """Return the supervisor that runs here, None when none does.

        Looks without a lock, which a supervisor that starts just now would stumble over: what
        counts is that the process named in the file has the file open.
        """
        try:
            process = psutil.Process(int(self.lock_file.read_text()))
            is_open = any(file.path == str(self.lock_file) for file in process.open_files())
        except (OSError, ValueError, psutil.Error):
            return None
        return process if is_open else None

    def secrets(self) -> dict[str, str]:
        path = self.directory / "secrets.json"
        known: dict[str, str] = read_json_file(path)
        missing = {name: secrets.token_hex(24) for name in SECRETS if name not in known}
        if missing:
            write_atomically(path, json.dumps(known | missing, indent=1))
        return known | missing

    def open_log(self, name: str) -> IO[bytes]:
        """Open the log that a part appends to."""
        return (self.logs / f"{name}.log").open("ab")

    def rotate_logs(self) -> None:
        """Copy each large log to NAME.log.1, and empty it.

        Parts keep their logs open for as long as they run. Since they append, they go on at the
        start of an emptied file; what one writes between the two steps is lost. A log that cannot
        be copied, on a full disk, stays as it is until the next call.
        """
        for path in self.logs.glob("*.log"):
            with contextlib.suppress(OSError):
                if path.stat().st_size > LOG_ROTATED_AT_BYTES:
                    shutil.copyfile(path, path.with_suffix(".log.1"))
                    os.truncate(path, 0)

    def write_env(self, values: Mapping[str, str]) -> None:
        """Write stack.env, readable only by its owner since it holds secrets."""
        lines = [f"{name}={shlex.quote(value)}\n" for name, value in values.items()]
        write_atomically(self.stack_env, "".join(lines))

    def read_env(self) -> dict[str, str]:
        """Read the values of stack.env; raises FileNotFoundError when no stack runs here."""
        words = shlex.split(self.stack_env.read_text())
        return dict(word.split("=", 1) for word in words)

    def write_pid(self, name: str, pid: int) -> None:
        write_atomically(self.pids / name, f"{pid}\n", mode=0o644)

    def forget_run(self) -> None:
        self.stack_env.unlink(missing_ok=True)
        for path in self.pids.glob("*"):
            path.unlink(missing_ok=True)


def read_json_file(path: Path) -> dict[str, Any]:
    """Return the object in a file, an empty one if there is no file.

    Raises StackError if it is something else: without its secrets, data can't be read.
    """
    try:
        return dict(json.loads(path.read_text())) if path.exists() else {}
    except (ValueError, TypeError) as error:
        raise StackError(f"{path} is damaged ({error}): restore it") from None


def write_atomically(path: Path, text: str, mode: int = 0o600) -> None:
    """Replace a file so that a reader sees either the old text or the new, never a part.

    That holds after a power failure, too.

    Args:
        path: the file.
        text: what it is to hold.
        mode: who may read and write it.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(descriptor)
    temporary.replace(path)
