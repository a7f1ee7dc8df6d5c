"""What a search means, for either backend: ranks, order, and where a page begins.

A message's rank is the number of edges at which it matches: one for each part
that it holds at the start of a word, one more for each that is a whole word.
So `rank >= r` is "at least r of these conditions", and each rank is a tier
that can be read by itself, newest first, and left as soon as a page is full.
"""

from dataclasses import dataclass
from enum import IntEnum

from crud_service.search.text.folding import Part


class Level(IntEnum):
    """How well a part matches; its value is what it adds to the rank."""

    INSIDE = 0
    START = 1
    WHOLE = 2


def forms(part: Part, level: Level) -> tuple[str, ...]:
    """What a marked text contains, one of these at least, when a part matches at a level."""
    levels = ((one.inside, one.start, one.whole) for one in part.readings)
    return tuple(dict.fromkeys(each[level] for each in levels))


@dataclass(frozen=True, slots=True)
class Hit:
    """A message found: its rank (0 where the order is not by relevance) and number."""

    rank: int
    number: int


@dataclass(frozen=True, slots=True)
class Plan:
    """A search of one chat, ready for a backend.

    `after` is the last hit of the page before; `limit` is one more than the
    page holds, to know if there is another.
    """

    chat_id: int
    parts: tuple[Part, ...]
    limit: int
    ranked: bool
    ascending: bool = False
    after: Hit | None = None

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
        """The conditions whose number is the rank, each met by any of its forms."""
        levels = (Level.START, Level.WHOLE)
        return [forms(part, level) for part in self.parts for level in levels]
