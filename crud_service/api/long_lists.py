"""Long answers on their way to clients: at most N concurrent, as each keeps a piece in memory."""

from collections import Counter
from collections.abc import Iterator
from threading import Lock

from web.problems import Overloaded


class Places:
    """Room for so many answers in all, and so many of one owner."""

    def __init__(self, in_all: int, of_one_owner: int) -> None:
        self._in_all = in_all
        self._of_one_owner = of_one_owner
        self._taken: Counter[str] = Counter()
        self._lock = Lock()

    def take(self, owner: str) -> None:
        """Raises Overloaded at once when there is no room."""
        with self._lock:
            full = self._taken.total() >= self._in_all
            if full or self._taken[owner] >= self._of_one_owner:
                raise Overloaded("Too many long answers are being read at once. Try again.")
            self._taken[owner] += 1

    def give_back(self, owner: str) -> None:
        """Leave room for another."""
        with self._lock:
            self._taken[owner] -= 1
            if not self._taken[owner]:
                del self._taken[owner]


COMPLETE_LISTS = Places(100, 10)
# A page ends, and its pieces are as small: more of them may be read at once.
LONG_PAGES = Places(200, 40)
# The answer to a search is made whole: few of those that are large may stay in memory.
LARGE_ANSWERS = Places(8, 2)
LARGE_BYTES = 1024 * 1024
SLICE_BYTES = 256 * 1024


def answer_body(owner: str, whole: bytes) -> "list[bytes] | LongAnswer":
    """An answer as a server sends it; raises Overloaded for one large answer too many."""
    if len(whole) <= LARGE_BYTES:
        return [whole]
    starts = range(0, len(whole), SLICE_BYTES)
    slices = (whole[start : start + SLICE_BYTES] for start in starts)
    return LongAnswer(LARGE_ANSWERS, owner, slices)


class LongAnswer:
    """The pieces of an answer; raises Overloaded when too many are being read.

    `owner` is an access token, or nothing for what belongs to no application.
    """

    def __init__(self, places: Places, owner: str, pieces: Iterator[bytes]) -> None:
        self._places: Places | None = None
        self._owner = owner
        self._pieces = pieces
        places.take(owner)
        self._places = places

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._pieces)

    def close(self) -> None:
        """Leave room for another; a server calls it at the end, however that came about."""
        places, self._places = self._places, None
        if places is not None:
            places.give_back(self._owner)

    __del__ = close
