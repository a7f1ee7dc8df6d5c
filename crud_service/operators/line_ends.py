"""Restore the line ends of a submitted text: browsers' forms convert all of them to CRLF."""

import re
from difflib import SequenceMatcher

_LINE_END = re.compile(r"(\r\n|\r|\n)")
# Above this many line comparisons, changed lines are matched by position, without a diff.
MAX_COMPARISONS = 100_000


def restore_line_ends(submitted: str, stored: str) -> str:
    """Return the submitted text, with the stored line ends on all unchanged lines.

    A new line ends like the line that it replaces, or else like the first line.
    """
    new, _ = _split(submitted)
    old, ends = _split(stored)
    usual = ends[0] if ends else "\n"
    # The last stored line has no line end, but needs one if other lines now follow it.
    ends.append(usual)
    head = _common(old, new)
    tail = _common(old[head:][::-1], new[head:][::-1])
    middle = slice(head, len(old) - tail)
    kept = [
        *ends[:head],
        *_match(old[middle], ends[middle], new[head : len(new) - tail], usual),
        *ends[len(old) - tail :],
    ]
    kept[-1] = ""
    return _join(new, kept)


def _split(text: str) -> tuple[list[str], list[str]]:
    pieces = _LINE_END.split(text)
    return pieces[::2], pieces[1::2]


def _join(lines: list[str], ends: list[str]) -> str:
    """Join lines and line ends; a CR and an LF that become adjacent must not merge into CRLF."""
    pieces: list[str] = []
    previous = ""
    for line, end in zip(lines, ends, strict=True):
        previous = "\r" if not line and previous == "\r" and end == "\n" else end
        pieces += (line, previous)
    return "".join(pieces)


def _common(left: list[str], right: list[str]) -> int:
    pairs = enumerate(zip(left, right, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(left), len(right)))


def _match(old: list[str], ends: list[str], new: list[str], usual: str) -> list[str]:
    """Return the line ends for new lines that replace old ones."""
    if len(old) * len(new) > MAX_COMPARISONS:
        return _fill(ends, len(new), usual)
    found: list[str] = []
    for _, start, stop, new_start, new_stop in SequenceMatcher(None, old, new, False).get_opcodes():
        found += _fill(ends[start:stop], new_stop - new_start, usual)
    return found


def _fill(ends: list[str], count: int, usual: str) -> list[str]:
    return ends[:count] + [usual] * (count - len(ends))
