"""What a search should find, in plain Python: no marks, no grams, no tiers."""

import re
import unicodedata
from collections.abc import Iterable

from crud_service.search.folding import fold


def is_word(character: str) -> bool:
    return unicodedata.category(character)[0] in "LNM"


def level(part: str, text: str) -> int:
    """2 where a part stands as a whole word in a text, 1 at a start, 0 inside, -1 nowhere."""
    return max((level_in_run(part, run) for run in fold(text).split()), default=-1)


def level_in_run(part: str, run: str) -> int:
    best = -1
    for match in re.finditer(f"(?={re.escape(part)})", run):
        start, end = match.start(), match.start() + len(part)
        cut_start = start > 0 and is_word(run[start - 1]) and is_word(part[0])
        cut_end = end < len(run) and is_word(run[end]) and is_word(part[-1])
        best = max(best, 0 if cut_start else 1 if cut_end else 2)
    return best


def find(keyword: str, bodies: Iterable[tuple[int, str]], sort: str = "relevance") -> list[int]:
    """Numbers of the messages that match, in the order that was asked for."""
    parts = set(fold(keyword).split())
    found = []
    for number, body in bodies:
        levels = [level(part, body) for part in parts]
        if min(levels) >= 0:
            rank = sum(levels) if sort == "relevance" else 0
            found.append((-rank, number if sort == "number" else -number, number))
    return [number for *_key, number in sorted(found)]
