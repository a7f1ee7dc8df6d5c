"""What a search means, for either backend: ranks, order, and where a page begins.

A message's rank is the number of edges at which it matches: one for each part
that it holds at the start of a word, one more for each that is a whole word.
So `rank >= r` means "at least r of these conditions hold", and each rank is a tier
that can be read separately, newest first, until the page is full.
"""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

from crud_service.chat.filters import Filters
from crud_service.search.text.folding import Part


class Level(IntEnum):
    """How well a part matches; the value is what the match adds to the rank."""

    INSIDE = 0
    START = 1
    WHOLE = 2


def forms(part: Part, level: Level) -> tuple[str, ...]:
    """Return the forms of a part at a level: it matches a marked text that contains any of them."""
    by_level = ((reading.inside, reading.start, reading.whole) for reading in part.readings)
    return tuple(dict.fromkeys(levels[level] for levels in by_level))


class Hit(NamedTuple):
    """A matching message: its rank (0 unless sorted by relevance) and number."""

    rank: int
    number: int


@dataclass(frozen=True, slots=True)
class Plan:
    """A search of one chat, ready for a backend.

    `after` is the last hit of the previous page; `limit` is one more than the
    page holds, to see whether there is a next one.
    """

    chat_id: int
    parts: tuple[Part, ...]
    limit: int
    ranked: bool
    ascending: bool = False
    after: Hit | None = None
    filters: Filters = field(default_factory=dict)

    @property
    def max_rank(self) -> int:
        """The highest rank that a hit can still have."""
        if not self.ranked:
            return 0
        return self.after.rank if self.after else 2 * len(self.parts)

    @property
    def tiers(self) -> range:
        """The ranks to read one by one, best first."""
        return range(self.max_rank, -1, -1)

    @property
    def edges(self) -> list[tuple[str, ...]]:
        """The conditions that are counted for the rank; any form of a condition meets it."""
        levels = (Level.START, Level.WHOLE)
        return [forms(part, level) for part in self.parts for level in levels]
