"""The JSON logs of processes that still run.

A process writes many lines at once, and such a write is seen page by page: the last line may be
half there.
"""

import json
from pathlib import Path
from typing import Any

Line = dict[str, Any]


def whole_lines(path: Path, start: int = 0) -> list[str]:
    """Return the lines of a log behind its first bytes, without one that has no end yet."""
    whole, _, _ = path.read_bytes()[start:].rpartition(b"\n")
    return whole.decode(errors="replace").split("\n") if whole else []


def json_lines(path: Path, containing: str = "", start: int = 0) -> list[Line]:
    """Return what the lines hold that contain a text."""
    return [json.loads(line) for line in whole_lines(path, start) if containing in line]
