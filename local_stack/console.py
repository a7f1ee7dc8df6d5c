"""Output to the terminal: lines, colours, and one line that says what is being waited for."""

import os
import shutil
import sys
import time
from collections.abc import Callable
from typing import TextIO

from local_stack.failure import StackError

COLOURS = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33, "blue": 34}
COLOURS |= {"magenta": 35, "cyan": 36}
CLEAR_LINE = "\r\x1b[2K"
# Where lines can't be replaced, one that says the same again must be worth its place.
SECONDS_BETWEEN_LINES = 5.0
LOOK_EVERY_SECONDS = 0.05


def is_terminal(stream: TextIO) -> bool:
    """Whether a stream is a terminal that understands escape sequences."""
    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def paint(text: str, *colours: str, stream: TextIO | None = None) -> str:
    """Colour a text for a terminal; elsewhere, and with NO_COLOR, return it as it is."""
    if not is_terminal(stream or sys.stdout) or os.environ.get("NO_COLOR"):
        return text
    codes = ";".join(str(COLOURS[colour]) for colour in colours)
    return f"\x1b[{codes}m{text}\x1b[0m"


def say(line: str = "") -> None:
    """Print one line at once; a closed terminal must not stop the stack."""
    write(sys.stdout, f"{clear_line()}{line}\n")


def complain(line: str) -> None:
    """Print an error to stderr, in a line of its own."""
    write(sys.stdout, clear_line())
    write(sys.stderr, f"{paint('local_stack:', 'red', stream=sys.stderr)} {line}\n")


def done(what: str, seconds: float, remark: str = "") -> None:
    """Print that something is done, and how long it took.

    Args:
        what: a word or two.
        seconds: how long it took.
        remark: follows the time.
    """
    say(f"{paint('✓', 'green')} {what:<14} {paint(f'{seconds:5.1f} s', 'dim')}{remark}")


class Waiting:
    """Says what is being waited for, and for how long already.

    A terminal shows one line, which whatever is printed next replaces. Elsewhere
    only what takes long gets lines, one every few seconds.
    """

    def __init__(self, seconds_between_lines: float = SECONDS_BETWEEN_LINES) -> None:
        self.seconds_between_lines = seconds_between_lines
        self.began = self.said_at = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def tell(self, what: str) -> None:
        line = f"  {what}  {self.seconds:.0f} s"
        if is_terminal(sys.stdout):
            columns = shutil.get_terminal_size().columns
            write(sys.stdout, clear_line() + paint(line[: columns - 1], "dim"))
        elif time.monotonic() - self.said_at >= self.seconds_between_lines:
            self.said_at = time.monotonic()
            say(line)


def wait_for(condition: Callable[[], bool], what: str, seconds: float) -> None:
    """Wait for a condition, say so meanwhile, and at the end how long it took.

    Args:
        condition: is checked again and again.
        what: a word or two; in the terminal, "waiting for" precedes it.
        seconds: for how long.

    Raises StackError when it does not come true in time.
    """
    waiting = Waiting()
    while not condition():
        if waiting.seconds > seconds:
            raise StackError(f"{what} is not ready after {seconds:.0f} s")
        waiting.tell(f"waiting for {what}")
        time.sleep(LOOK_EVERY_SECONDS)
    done(what, waiting.seconds)


def clear_line() -> str:
    return CLEAR_LINE if is_terminal(sys.stdout) else ""


def write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
        stream.flush()
    except UnicodeEncodeError:  # LANG=C: better question marks than no stack
        write(stream, text.encode("ascii", "replace").decode())
    except OSError:
        pass
