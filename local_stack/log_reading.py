"""`make logs`: what all parts log, as they do, each line with its part's name."""

import heapq
import os
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path

from local_stack.console import paint
from local_stack.failure import StackError
from local_stack.layout import Layout
from local_stack.log_lines import LogLine, read_line
from local_stack.process import kind_of
from local_stack.stack import Settings

PARTS = {
    "crud": "cyan",
    "worker": "magenta",
    "numbering": "blue",
    "postgres": "green",
    "standby": "green",
    "valkey": "yellow",
    "broker": "yellow",
    "elasticsearch": "dim",
    "proxy": "dim",
    "migrate": "dim",
}
LEVELS = {"error": ("red", "bold"), "critical": ("red", "bold"), "warning": ("yellow",)}
SHOWN_AT_FIRST = 20
READ_AT_FIRST_BYTES = 256 * 1024
LOOK_EVERY_SECONDS = 0.2


def logs(settings: Settings, environment: Mapping[str, str] = os.environ) -> None:
    """Print the last N lines, then what is logged until Ctrl-C or the end of the stack."""
    layout = Layout(settings.directory)
    followed = new_logs([], layout, environment)
    try:
        last = heapq.merge(*(log.history() for log in followed))
        for _, name, line in deque(last, maxlen=read_count(environment)):
            show(name, line)
        follow(followed, layout, environment)
    except BrokenPipeError:  # `make logs | head`
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for what is flushed at the exit
    except KeyboardInterrupt:
        print_line("")


def follow(followed: list["LogFile"], layout: Layout, environment: Mapping[str, str]) -> None:
    """Print new lines until no supervisor runs any more."""
    while layout.supervisor():
        followed += new_logs(followed, layout, environment)
        for log in followed:
            for line in log.new_lines():
                show(log.name, read_line(line))
        time.sleep(LOOK_EVERY_SECONDS)
    for log in followed:
        for line in log.new_lines():
            show(log.name, read_line(line))
    print_line(paint(f"no stack is running in {layout.directory}", "dim"))


def new_logs(
    followed: list["LogFile"], layout: Layout, environment: Mapping[str, str]
) -> list["LogFile"]:
    """Return the logs of chosen parts that are not followed yet, such as those started just now."""
    names = set(chosen_parts(layout, environment)) - {log.name for log in followed}
    return [LogFile(layout.logs / f"{name}.log") for name in sorted(names)]


def chosen_parts(layout: Layout, environment: Mapping[str, str]) -> list[str]:
    """Return the parts named in PART, or those of a kind named there; all without it.

    Raises StackError for an unknown one.
    """
    if not any(layout.logs.glob("*.log")):
        raise StackError(f"there are no logs in {layout.logs}")
    numbered = sorted(path.stem for path in layout.logs.glob("*-[0-9]*.log"))
    known = [*PARTS, *numbered]
    chosen = environment.get("PART", "").replace(",", " ").split() or list(PARTS)
    if unknown := [name for name in chosen if name not in known]:
        raise StackError(f"PART={unknown[0]} is none of {', '.join(known)}")
    found = (name for one in chosen for name in known if one in {name, kind_of(name)})
    return list(dict.fromkeys(found))


def read_count(environment: Mapping[str, str]) -> int:
    text = environment.get("N") or str(SHOWN_AT_FIRST)
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise StackError(f"N={text} is not a number of lines")
    return int(text)


class LogFile:
    """One part's log: its end so far, then what is appended, also after a rotation."""

    def __init__(self, path: Path):
        self.path = path
        self.name = path.stem
        self.rest = b""
        self.position = 0
        self.inode = 0

    def history(self) -> Iterator[tuple[tuple[str, str], str, LogLine]]:
        """Yield the last lines, each with the moment by which those of all logs are merged."""
        if self.path.exists():
            self.inode = self.path.stat().st_ino
            self.position = max(0, self.path.stat().st_size - READ_AT_FIRST_BYTES)
        is_cut, latest = self.position > 0, ("", "")
        for line in list(self.new_lines())[is_cut:]:
            read = read_line(line)
            # What has no time (a traceback) stays behind the line that it belongs to.
            latest = max(latest, (read.date, read.time))
            yield latest, self.name, read

    def new_lines(self) -> Iterator[str]:
        """Yield the complete lines that were appended since the last call."""
        try:
            with self.path.open("rb") as handle:
                found = os.fstat(handle.fileno())
                if found.st_ino != self.inode or found.st_size < self.position:
                    self.inode, self.position, self.rest = found.st_ino, 0, b""
                handle.seek(self.position)
                appended = handle.read()
        except FileNotFoundError:
            return
        self.position += len(appended)
        *lines, self.rest = (self.rest + appended).split(b"\n")
        yield from (line.decode(errors="replace").rstrip("\r") for line in lines)


def show(name: str, line: LogLine) -> None:
    """Print one log line; a text of several lines gets the name before each."""
    colours = LEVELS.get(line.level, ())
    label = paint(f"{name:<13}", PARTS.get(kind_of(name), "dim"))
    level = paint(f"{line.level[:7]:<7}", *colours) if colours else f"{line.level[:7]:<7}"
    for number, text in enumerate(line.text.split("\n")):
        when = line.time if number == 0 else ""
        print_line(f"{paint(f'{when:<12}', 'dim')} {label} {level} {text}")


def print_line(text: str) -> None:
    """Print at once, and unlike `say` notice when the reader has gone."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
