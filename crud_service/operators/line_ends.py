"""Line ends of a text that went through a browser's form, which makes all of them CRLF."""

import re
from difflib import SequenceMatcher

_LINE_END = re.compile(r"(\r\n|\r|\n)")
# Beyond this many comparisons of lines, those that were changed are taken as they come.
MAX_COMPARISONS = 100_000


def restore_line_ends(submitted: str, stored: str) -> str:
    """A submitted text with the line ends of the stored one, wherever its lines are the same.

    A new line ends like the line whose place it takes, or else like the first one.
    """
    new, _ = _split(submitted)
    old, ends = _split(stored)
    usual = ends[0] if ends else "\n"
    # The last line of the stored text has no end; one that others now follow needs one.
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
    """The lines of a text, and the ends of all but the last."""
    pieces = _LINE_END.split(text)
    return pieces[::2], pieces[1::2]


def _join(lines: list[str], ends: list[str]) -> str:
    """A text of lines; an end CR and an end LF that come to stand together must not become one."""
    pieces: list[str] = []
    previous = ""
    for line, end in zip(lines, ends, strict=True):
        previous = "\r" if not line and previous == "\r" and end == "\n" else end
        pieces += (line, previous)
    return "".join(pieces)


def _common(left: list[str], right: list[str]) -> int:
    """How many lines both begin with."""
    pairs = enumerate(zip(left, right, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(left), len(right)))


def _match(old: list[str], ends: list[str], new: list[str], usual: str) -> list[str]:
    """The ends of lines that stand where others stood."""
    if len(old) * len(new) > MAX_COMPARISONS:
        return _fill(ends, len(new), usual)
    found: list[str] = []
    for _, start, stop, new_start, new_stop in SequenceMatcher(None, old, new, False).get_opcodes():
        found += _fill(ends[start:stop], new_stop - new_start, usual)
    return found


def _fill(ends: list[str], count: int, usual: str) -> list[str]:
    """As many ends as there are lines, `usual` for those that are missing."""
    return ends[:count] + [usual] * (count - len(ends))
