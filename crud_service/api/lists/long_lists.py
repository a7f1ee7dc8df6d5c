"""Limits for long answers being sent: at most N concurrent, as each keeps a piece in memory."""

from collections import Counter
from collections.abc import Iterator
from threading import Lock

from web.problems import Overloaded

LISTS_REFUSED = "Too many long lists are being read. Try again later, or request pages."


class Places:
    """A limit of concurrent answers, in total and per owner; `refusal` says that it is reached."""

    def __init__(self, total: int, per_owner: int, refusal: str = LISTS_REFUSED) -> None:
        self._refusal = refusal
        self._total = total
        self._per_owner = per_owner
        self._taken: Counter[str] = Counter()
        self._lock = Lock()

    def take(self, owner: str) -> None:
        """Take a place; raise Overloaded at once if none is free."""
        with self._lock:
            full = self._taken.total() >= self._total
            if full or self._taken[owner] >= self._per_owner:
                raise Overloaded(self._refusal)
            self._taken[owner] += 1

    def give_back(self, owner: str) -> None:
        with self._lock:
            self._taken[owner] -= 1
            if not self._taken[owner]:
                del self._taken[owner]


COMPLETE_LISTS = Places(100, 10)
# A page has an end, and its pieces are as small: more of them may be read concurrently.
LONG_PAGES = Places(200, 40)
# A search answer is built in full, so only a few large ones may be in memory.
LARGE_ANSWERS = Places(8, 2)
LARGE_BYTES = 1024 * 1024
SLICE_BYTES = 256 * 1024


def sliced(whole: bytes) -> Iterator[bytes]:
    """Yield an answer in pieces of at most SLICE_BYTES."""
    for start in range(0, len(whole), SLICE_BYTES):
        yield whole[start : start + SLICE_BYTES]


class LongAnswer:
    """The pieces of an answer, which holds a place until `close`.

    The constructor raises Overloaded if no place is free. `owner` is an access
    token, or empty for an answer that belongs to no application.
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
        """Free the place; the server calls this at the end, after success and failure alike."""
        places, self._places = self._places, None
        if places is not None:
            places.give_back(self._owner)

    __del__ = close
