"""`make stop` and `make reset`: end the stack of a directory, and remove its data."""

import os
import re
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil

from local_stack.console import Waiting, done, say
from local_stack.failure import StackError
from local_stack.layout import Layout
from local_stack.process import end_leftovers
from local_stack.stack import Settings

# Each part may take its own time to stop before it is killed.
STOPPED_WITHIN_SECONDS = 90.0
# All that a stack ever makes in its directory, unfinished files (`.NAME.PID`) included.
MADE_BY_A_STACK = re.compile(
    r"stack\.env|secrets\.json|ports\.json|supervisor\.lock|pids|log|postgres|valkey"
    r"|standby|broker|valkey-\d|proxy|elasticsearch|cache|\.[a-z]+\.[a-z]+\.\d+"
)


def stop(settings: Settings) -> None:
    """End the stack of a directory as Ctrl-C does, and wait until it has ended."""
    layout = Layout(settings.directory)
    if end_stack(layout):
        say(f"the data stays in {layout.directory}")


def end_stack(layout: Layout) -> bool:
    """End what runs in a directory; returns whether anything did."""
    if supervisor := layout.supervisor():
        say(f"stopping the stack in {layout.directory} (supervisor {supervisor.pid})")
        stop_supervisor(layout, supervisor)
    elif count := end_leftovers_of(layout):
        say(f"ended {count} process{'es' if count > 1 else ''} left behind by a killed supervisor")
    else:
        say(f"no stack is running in {layout.directory}")
        return False
    return True


def end_leftovers_of(layout: Layout) -> int:
    """End what a killed supervisor left; returns how many processes that were.

    Under the lock: a stack that starts at this moment is nobody's leftover.
    """
    if not layout.lock_file.exists():
        return 0
    with layout.lock():
        return end_leftovers(layout.directory)


def stop_supervisor(layout: Layout, supervisor: psutil.Process) -> None:
    """Ask a supervisor to stop, and print each part as it ends."""
    parts, waiting = running_parts(layout), Waiting()
    with suppress(psutil.NoSuchProcess):  # it has just ended by itself
        supervisor.send_signal(signal.SIGTERM)
    while layout.supervisor() == supervisor:
        for name in [name for name, part in parts.items() if has_ended(part)]:
            done(name, waiting.seconds)
            del parts[name]
        if waiting.seconds > STOPPED_WITHIN_SECONDS:
            raise StackError(
                f"the supervisor {supervisor.pid} did not stop in {STOPPED_WITHIN_SECONDS:.0f} s:"
                f" end it with `kill -9 {supervisor.pid}`, and what is left with `make stop`"
            )
        waiting.tell(f"waiting for {', '.join(parts) or 'the supervisor'} to end")
        time.sleep(0.05)
    for name in parts:
        done(name, waiting.seconds)
    say(f"stopped after {waiting.seconds:.1f} s")


def running_parts(layout: Layout) -> dict[str, psutil.Process]:
    """Return the process of each part that runs, from pids/NAME."""
    found = {}
    for path in sorted(layout.pids.glob("[a-z]*")):
        try:
            found[path.name] = psutil.Process(int(path.read_text()))
        except (OSError, ValueError, psutil.Error):
            continue  # it is just being written, or the process has ended
    return found


def has_ended(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def reset(settings: Settings) -> None:
    """Stop the stack of a directory and remove all that it made there, once that is confirmed."""
    layout = Layout(settings.directory)
    if not find_data(layout) and not layout.supervisor():
        say(f"there is nothing to remove in {layout.directory}")
        return
    confirm(layout.directory, os.environ.get("FORCE", "") not in {"", "0"})
    end_stack(layout)
    # Nobody may start a stack here meanwhile. So the lock stays, also as the directory's mark.
    with layout.lock():
        data = find_data(layout)
        for path in data:
            remove(path)
    names = ", ".join(path.name for path in data if not path.name.startswith("."))
    say(f"removed from {layout.directory}: {names or 'nothing'}")


def find_data(layout: Layout) -> list[Path]:
    """Return what a stack made in its directory; raises StackError if it is not a stack's.

    A directory that holds anything else may be somebody's home, where `log` is not ours.
    """
    directory = layout.directory
    names = sorted(os.listdir(directory)) if directory.is_dir() else []
    if strange := [name for name in names if not MADE_BY_A_STACK.fullmatch(name)]:
        raise StackError(
            f"{directory} holds what no stack made ({', '.join(strange[:3])}):"
            " nothing was removed. Move that elsewhere if this is the directory of a stack"
        )
    if names and not layout.lock_file.is_file():
        raise StackError(f"{directory} is not the directory of a stack: nothing was removed")
    return [directory / name for name in names if name != layout.lock_file.name]


def remove(path: Path) -> None:
    """Remove a file, a directory, or a link, whose target is kept."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def confirm(directory: Path, forced: bool) -> None:
    """Ask whether to go on; raises StackError unless the answer is yes."""
    if forced:
        return
    if not sys.stdin.isatty():
        raise StackError(f"this removes all data in {directory}: to confirm, add FORCE=1")
    say(f"This stops the stack in {directory} and removes all its data, for good.")
    try:
        answer = input("Go on? [y/N] ")
    except (EOFError, KeyboardInterrupt):
        answer = ""
    if answer.strip().lower() not in {"y", "yes"}:
        raise StackError("nothing was removed")
