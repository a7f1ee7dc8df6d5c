"""Tells which application sends faster than its messages are stored.

Persisting is first in, first out: what one application has waiting delays the messages of
all. While a persister makes progress, an application may send somewhat more than it is granted:
a part of what is stored meanwhile, whoever sent that. Anything beyond waits, and so does its
sender. What took a quarter of a second to be stored is granted wholly, what took longer in part,
so the delay settles there, with any content and any speed of PostgreSQL. The part is never
nothing: whoever sends a sixteenth of what PostgreSQL can store waits for no backlog, however long
it is and whoever made it. While nothing is being stored, nobody's message becomes readable sooner,
and nobody waits.

It is a virtual clock (Zhang, ACM TOCS 1991) that is driven by stored bytes, at a pace that follows
the delay, as the window of TCP Vegas does (Brakmo and Peterson, IEEE JSAC 1995).

A process only knows what it accepted itself: each of several has a window of its own.
"""

from collections import deque
from collections.abc import Callable, Iterable
from time import monotonic
from typing import NamedTuple

from contract.entries import EntryId
from numbering_service.creation import AnyCreation

# How many bytes an application may be ahead of what it was granted: 1,000 short messages at first,
# more if the persister runs out of work while somebody waits.
MIN_AHEAD_BYTES = 512 * 1024
MAX_AHEAD_BYTES = 4 * 1024 * 1024
# What a number counts besides its text: a short row takes about as long to store.
ROW_BYTES = 512
# What is stored after this time, which nobody notices and which keeps a persister busy, is granted
# wholly; the less of the rest, the longer it took. Above 1 a backlog may grow.
DELAY_SECONDS = 0.25
MIN_PART, MAX_PART = 1 / 16, 1.25
# After so long without progress nobody is held back. Another worker takes over sooner.
STALL_SECONDS = 3.0
# Or so long without a persister: one that was idle has begun by then.
START_SECONDS = 0.3
# An even number. With more, neighbours are put together, two and two.
MAX_BATCHES = 1024
# Those that have caught up are forgotten when there are more, and twice as many as last time.
MAX_FORGOTTEN = 1024


class Accepted(NamedTuple):
    """Batches in the stream: when the first was accepted, the id of the last entry, the bytes."""

    at: float
    last: EntryId
    size: int

    def followed_by(self, other: "Accepted") -> "Accepted":
        return Accepted(self.at, other.last, self.size + other.size)


class Window:
    """What each application has sent, compared with what it was granted."""

    def __init__(
        self,
        min_ahead_bytes: int = MIN_AHEAD_BYTES,
        max_ahead_bytes: int = MAX_AHEAD_BYTES,
        clock: Callable[[], float] = monotonic,
        row_bytes: int = ROW_BYTES,
        max_batches: int = MAX_BATCHES,
    ) -> None:
        """A creation counts as the bytes of its text, and `row_bytes` for each of its numbers."""
        self._limits = min_ahead_bytes, max_ahead_bytes
        self._max_ahead = min_ahead_bytes
        self._somebody_waits = False
        self._clock = clock
        self._row_bytes = row_bytes
        self._max_batches = max_batches
        # Bytes granted to each application, and where those are that have sent more.
        self._granted = 0.0
        self._positions: dict[str, float] = {}
        self._most_positions = MAX_FORGOTTEN
        self._batches: deque[Accepted] = deque()  # in the order of the stream
        self._oldest: EntryId | None = None
        self._has_persister = True
        self._progress_at = 0.0

    def take(self, creation: AnyCreation) -> bool:
        """Count a creation in and return True, or False if its application is too far ahead.

        One always fits, whatever its size.
        """
        if not (self._batches or self._positions):
            # Nothing was stored lately because there was nothing to store: no reason to let in
            # whatever comes before the first report of progress.
            self._progress_at = self._clock()
        size = self._size_of(creation)
        position = max(self._positions.get(creation.access_token, 0.0), self._granted)
        ahead = position - self._granted
        if ahead and ahead + size > self._max_ahead:
            if self._makes_progress():
                self._somebody_waits = True
                return False
            # Nobody is to wait later for what comes while nothing is stored.
            del self._positions[creation.access_token]
        else:
            self._positions[creation.access_token] = position + size
        return True

    def give_back(self, creation: AnyCreation) -> None:
        if creation.access_token in self._positions:
            self._positions[creation.access_token] -= self._size_of(creation)

    def accept(self, last: EntryId, accepted: Iterable[AnyCreation]) -> None:
        if len(self._batches) >= self._max_batches:
            batches = list(self._batches)
            self._batches = deque(map(Accepted.followed_by, batches[::2], batches[1::2]))
        self._batches.append(Accepted(self._clock(), last, sum(map(self._size_of, accepted))))

    def stored_before(self, oldest: EntryId | None) -> None:
        """Record that every entry before `oldest` is stored; None: no persister stores anything."""
        self._has_persister = oldest is not None
        if oldest is None:
            return
        now = self._clock()
        if oldest != self._oldest:
            self._oldest, self._progress_at = oldest, now
        while self._batches and self._batches[0].last < oldest:
            batch = self._batches.popleft()
            delay = now - batch.at
            self._granted += batch.size * granted_part(delay)
            if delay > DELAY_SECONDS:
                self._max_ahead, _ = self._limits
        if not self._batches:
            self._begin_anew()
        elif len(self._positions) > self._most_positions:
            self._forget()

    def _begin_anew(self) -> None:
        """Forget everything, as it is stored."""
        at_least, at_most = self._limits
        self._max_ahead = min(2 * self._max_ahead, at_most) if self._somebody_waits else at_least
        self._somebody_waits = False
        self._positions.clear()
        self._granted = 0.0

    def _forget(self) -> None:
        """Forget the applications that have caught up."""
        ahead = {each: at for each, at in self._positions.items() if at > self._granted}
        self._positions = ahead
        self._most_positions = MAX_FORGOTTEN + 2 * len(ahead)

    def _size_of(self, creation: AnyCreation) -> int:
        return creation.body_size + self._row_bytes * creation.numbers

    def _makes_progress(self) -> bool:
        patience = STALL_SECONDS if self._has_persister else START_SECONDS
        return self._clock() - self._progress_at <= patience


def granted_part(delay: float) -> float:
    """Return what part of a batch is granted that took so many seconds to be stored.

    The square has the delay grow only with the root of the number of applications that flood.
    """
    return min(MAX_PART, max(MIN_PART, (DELAY_SECONDS / max(delay, 0.001)) ** 2))
