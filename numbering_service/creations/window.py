"""Tells which application sends faster than its messages are stored.

Persisting is first in, first out: what one application has waiting delays the messages of
all. So each application is granted as many bytes as are stored in total, and anything sent too
far beyond its grant waits, and its sender with it. Batches that took up to a quarter of a second
to be stored are granted in full, slower ones in part: the delay settles near that, whatever the
content and the speed of PostgreSQL. Some part is always granted, so an application below a
sixteenth of PostgreSQL's throughput never waits for a backlog, its own or another's. While
nothing is being stored, waiting would make no message readable sooner, and nothing is held back.

It is a virtual clock (Zhang, ACM TOCS 1991) that is driven by stored bytes, at a pace that follows
the delay, as the window of TCP Vegas does (Brakmo and Peterson, IEEE JSAC 1995).

A process only knows what it accepted itself: each of several has a window of its own.
"""

from collections import deque
from collections.abc import Callable
from time import monotonic

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
MAX_PART = 1.25
# All that flood together are granted at least half of what is stored, and one of them a sixteenth
# at most, which is granted to everybody.
MIN_PART_OF_ALL, MIN_FLOODS = 1 / 2, 8
# A step of the persister that stores nothing of ours grants as much as if so much were stored: it
# works on what another process accepted, or on what this one did before it was restarted.
STEP_BYTES = 512 * 1024
# After so long without progress nobody is held back. Another worker takes over sooner.
STALL_SECONDS = 4.0
# Or after so long without a report of a persister: one that was idle has begun by then.
SILENT_SECONDS = 0.3
# With more, neighbours are put together.
MAX_BATCHES = 1024
# Applications that have caught up are dropped once there are this many positions, or twice as many
# as the last time left.
MAX_POSITIONS = 1024


class Accepted:
    """Batches in the stream: when the first was accepted, the id of the last entry, the bytes."""

    __slots__ = ("at", "last", "size")

    def __init__(self, at: float, last: EntryId, size: int) -> None:
        self.at = at
        self.last = last
        self.size = size

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
        step_bytes: int = STEP_BYTES,
        max_batches: int = MAX_BATCHES,
    ) -> None:
        """A creation counts as the bytes of its text, and `row_bytes` for each of its numbers."""
        self._limits = min_ahead_bytes, max_ahead_bytes
        self._max_ahead = min_ahead_bytes
        # The applications that had no room since the persister's last step.
        self._floods: set[str] = set()
        self._clock = clock
        self._row_bytes = row_bytes
        self._step_bytes = step_bytes
        self._max_batches = max_batches
        # Bytes granted to each application, and where those are that have sent more.
        self._granted = 0.0
        self._positions: dict[str, float] = {}
        self._most_positions = MAX_POSITIONS
        self._batches: deque[Accepted] = deque()  # in the order of the stream
        self._oldest: EntryId | None = None
        self._silent_since: float | None = None
        self._progress_at = 0.0

    def take(self, creation: AnyCreation) -> bool:
        """Count a creation in and return True, or False if its application is too far ahead.

        One always fits, whatever its size.
        """
        if not (self._batches or self._positions):
            # Nothing was stored lately because there was nothing to store: no reason to let in
            # whatever comes before the first report of progress.
            self._progress_at, self._silent_since = self._clock(), None
        access_token = creation.access_token
        size = self._size_of(creation)
        ahead = max(0.0, self._positions.get(access_token, 0.0) - self._granted)
        if ahead and not self._makes_progress():
            # Nobody is to wait later for what comes while nothing is stored.
            del self._positions[access_token]
            return True
        if ahead and ahead + size > self._max_ahead:
            self._floods.add(access_token)
            return False
        self._positions[access_token] = self._granted + ahead + size
        return True

    def give_back(self, creation: AnyCreation) -> None:
        """Count a creation out that was not accepted."""
        left = self._positions.get(creation.access_token, 0.0) - self._size_of(creation)
        if left > self._granted:
            self._positions[creation.access_token] = left
        else:
            self._positions.pop(creation.access_token, None)

    def accept(self, last: EntryId, accepted: list[AnyCreation]) -> None:
        if len(self._batches) >= self._max_batches:
            self._thin_out()
        size = sum([self._size_of(creation) for creation in accepted])
        self._batches.append(Accepted(self._clock(), last, size))

    def stored_before(self, oldest: EntryId | None) -> None:
        """Record that every entry before `oldest` is stored; None tells nothing."""
        now = self._clock()
        if oldest is None:
            if self._silent_since is None:
                self._silent_since = now
            return
        self._silent_since = None
        if oldest != self._oldest:
            self._oldest, self._progress_at = oldest, now
            self._take_step(oldest, now)
        elif self._batches and self._batches[0].last < oldest:
            self._take_step(oldest, now)  # its own reply told nothing

    def _take_step(self, oldest: EntryId, now: float) -> None:
        """Grant what is stored."""
        least = MIN_PART_OF_ALL / max(MIN_FLOODS, len(self._floods))
        if not self._batches or self._batches[0].last >= oldest:
            self._granted += least * self._step_bytes
        while self._batches and self._batches[0].last < oldest:
            batch = self._batches.popleft()
            delay = now - batch.at
            self._granted += batch.size * granted_part(delay, least)
            if delay > DELAY_SECONDS:
                self._max_ahead, _ = self._limits
        if not self._batches:
            self._begin_anew()
        elif len(self._positions) > self._most_positions:
            self._forget()
        self._floods.clear()

    def _begin_anew(self) -> None:
        """Forget everything, as it is stored."""
        at_least, at_most = self._limits
        self._max_ahead = min(2 * self._max_ahead, at_most) if self._floods else at_least
        self._positions.clear()
        self._granted = 0.0

    def _forget(self) -> None:
        """Forget the applications that have caught up."""
        ahead = {each: at for each, at in self._positions.items() if at > self._granted}
        self._positions = ahead
        self._most_positions = MAX_POSITIONS + 2 * len(ahead)

    def _size_of(self, creation: AnyCreation) -> int:
        return creation.body_size + self._row_bytes * creation.numbers

    def _makes_progress(self) -> bool:
        now, silent_since = self._clock(), self._silent_since
        if silent_since is not None and now - silent_since > SILENT_SECONDS:
            return False
        return now - self._progress_at <= STALL_SECONDS

    def _thin_out(self) -> None:
        """Put neighbours together that are small compared with everything."""
        most = 4 * sum(batch.size for batch in self._batches) / self._max_batches
        thinned: deque[Accepted] = deque()
        for batch in self._batches:
            if thinned and thinned[-1].size + batch.size <= most:
                batch = thinned.pop().followed_by(batch)
            thinned.append(batch)
        self._batches = thinned


def granted_part(delay: float, least: float) -> float:
    """Return what part of a batch is granted that took so many seconds to be stored.

    The square has the delay grow only with the root of the number of applications that flood.
    """
    return min(MAX_PART, max(least, (DELAY_SECONDS / max(delay, 0.001)) ** 2))
