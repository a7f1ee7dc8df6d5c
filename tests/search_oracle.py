"""What a search should find, in plain Python: no marks, no grams, no tiers.

A text has two readings: folded and composed, or spelled letter by letter. A
part is found where one of its readings is in one of the text's.
"""

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from crud_service.search.text.folding import fold, spell


def is_word(character: str) -> bool:
    return unicodedata.category(character)[0] in "LNM"


def level(part: str, text: str) -> int:
    """2 where a part stands as a whole word in a text, 1 at a start, 0 inside, -1 nowhere."""
    readings = fold(part), spell(part)
    return max(
        (level_in_run(reading, run) for run in runs_of(text) for reading in readings), default=-1
    )


@lru_cache(maxsize=4096)  # a text is compared with a hundred keywords
def runs_of(text: str) -> frozenset[str]:
    """What stands between white space in the two readings of a text."""
    return frozenset((*fold(text).split(), *spell(text).split()))


@lru_cache(maxsize=65536)
def level_in_run(part: str, run: str) -> int:
    best = -1
    for match in re.finditer(f"(?={re.escape(part)})", run):
        start, end = match.start(), match.start() + len(part)
        cut_start = start > 0 and is_word(run[start - 1]) and is_word(part[0])
        cut_end = end < len(run) and is_word(run[end]) and is_word(part[-1])
        best = max(best, 0 if cut_start else 1 if cut_end else 2)
    return best


def parts(keyword: str) -> list[str]:
    """The parts of a keyword that ask for something, those that are alike once."""
    alike = {(fold(run), spell(run)): run for run in keyword.split() if fold(run)}
    return list(alike.values())


class Match(NamedTuple):
    number: int
    rank: int


def find(keyword: str, bodies: Iterable[tuple[int, str]], sort: str = "relevance") -> list[int]:
    """Numbers of the messages that match, in the order that was asked for."""
    return ordered(matches(keyword, bodies), sort)


def matches(keyword: str, bodies: Iterable[tuple[int, str]]) -> list[Match]:
    wanted = parts(keyword)
    found = []
    for number, body in bodies:
        levels = [level(part, body) for part in wanted]
        if min(levels, default=0) >= 0:
            found.append(Match(number, sum(levels)))
    return found


def ordered(found: Iterable[Match], sort: str) -> list[int]:
    """Numbers of matches in an order; of equal rank, the newest first."""

    def place(match: Match) -> tuple[int, int]:
        rank = match.rank if sort == "relevance" else 0
        return -rank, match.number if sort == "number" else -match.number

    return [match.number for match in sorted(found, key=place)]
