"""The supervisor's output to the terminal."""

import sys


def say(line: str = "") -> None:
    """Print one line at once; a closed terminal must not stop the stack."""
    try:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    except OSError:
        pass


def complain(line: str) -> None:
    try:
        sys.stderr.write(f"local_stack: {line}\n")
        sys.stderr.flush()
    except OSError:
        pass
