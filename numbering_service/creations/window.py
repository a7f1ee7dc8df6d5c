"""Tells which application has more waiting to be stored than is stored in a moment.

Persisting is first in, first out: what one application has waiting delays the messages of
all. While a persister makes progress, an application may have a limited number of bytes on
their way to PostgreSQL; anything beyond waits, and so does its sender. While nothing is being
stored, nobody's message becomes readable sooner, and the bound on the whole backlog is the
only one.

It is a window as in TCP, with stored bytes in place of acknowledged ones, and sized as in TCP
Vegas (Brakmo and Peterson, IEEE JSAC 1995): by the time that batches take to be stored. So it
fits any content, and any speed of PostgreSQL.

A process only knows what it accepted itself: each of several has a window of its own.
"""

from collections import deque
from collections.abc import Callable, Iterable
from time import monotonic
from typing import NamedTuple

from contract.entries import EntryId
from numbering_service.creation import AnyCreation

# The window is so large that a batch is stored after this time, which nobody notices, and which is
# enough to keep a persister busy.
DELAY_SECONDS = 0.25
# It begins with the least, 1,000 short messages, and grows while an application needs more and
# batches take less.
MIN_BYTES = 512 * 1024
MAX_BYTES = 4 * 1024 * 1024
# What a number counts besides its text: a short row takes as long to store as some text.
ROW_BYTES = 512
# After so long without progress, or without a report of any, nobody is held back.
STALL_SECONDS = 2.0
# A longer list would be no more exact in practice: later batches are merged into its last one.
MAX_BATCHES = 1024


class Accepted(NamedTuple):
    """A batch in the stream: when, the id of its last entry, and the bytes of each application."""

    at: float
    last: EntryId
    sizes: dict[str, int]


class Window:
    """The bytes of each application between `take` and PostgreSQL."""

    def __init__(
        self,
        min_bytes: int = MIN_BYTES,
        max_bytes: int = MAX_BYTES,
        max_batches: int = MAX_BATCHES,
        clock: Callable[[], float] = monotonic,
        row_bytes: int = ROW_BYTES,
    ) -> None:
        """A creation counts as the bytes of its text, and `row_bytes` for each of its numbers."""
        self._clock = clock
        self._min_bytes = min_bytes
        self._max_bytes = max_bytes
        self._size = float(min_bytes)
        self._sized_at = 0.0
        self._was_too_small = False
        self._max_batches = max_batches
        self._row_bytes = row_bytes
        self._held: dict[str, int] = {}
        self._batches: deque[Accepted] = deque()  # in the order of the stream
        self._oldest: EntryId | None = None
        self._progress_at = 0.0

    def take(self, creation: AnyCreation) -> bool:
        """Count a creation in and return True, or False if its application has too much on its way.

        One always fits, whatever its size.
        """
        if not self._held:
            # Nothing was stored lately because there was nothing to store: no reason to let in
            # whatever comes before the first report of progress.
            self._progress_at = self._clock()
            # What comes now may be slower to store than what came before.
            self._size = self._min_bytes
        size = self._size_of(creation)
        held = self._held.get(creation.access_token, 0)
        if held and held + size > self._size and self._makes_progress():
            self._was_too_small = True
            return False
        self._held[creation.access_token] = held + size
        return True

    def give_back(self, creation: AnyCreation) -> None:
        self._release(creation.access_token, self._size_of(creation))

    def accept(self, last: EntryId, accepted: Iterable[AnyCreation]) -> None:
        at = self._clock()
        sizes: dict[str, int] = {}
        if len(self._batches) >= self._max_batches:
            at, _, sizes = self._batches.pop()
        for creation in accepted:
            access_token = creation.access_token
            sizes[access_token] = sizes.get(access_token, 0) + self._size_of(creation)
        self._batches.append(Accepted(at, last, sizes))

    def stored_before(self, oldest: EntryId | None) -> None:
        """Record that every entry before `oldest` is stored; None tells nothing."""
        if oldest is None:
            return
        if oldest != self._oldest:
            self._oldest, self._progress_at = oldest, self._clock()
        while self._batches and self._batches[0].last < oldest:
            batch = self._batches.popleft()
            for access_token, size in batch.sizes.items():
                self._release(access_token, size)
            if batch.at >= self._sized_at:
                self._resize(self._clock() - batch.at)

    def _resize(self, delay: float) -> None:
        """Fit the window to how long a batch took that was accepted under its present size."""
        factor = min(2.0, max(0.5, DELAY_SECONDS / max(delay, 0.001)))
        if factor < 1 or self._was_too_small:
            self._size = min(self._max_bytes, max(self._min_bytes, self._size * factor))
        self._was_too_small = False
        self._sized_at = self._clock()

    def _size_of(self, creation: AnyCreation) -> int:
        return creation.body_size + self._row_bytes * creation.numbers

    def _makes_progress(self) -> bool:
        return self._clock() - self._progress_at <= STALL_SECONDS

    def _release(self, access_token: str, size: int) -> None:
        left = self._held[access_token] - size
        if left:
            self._held[access_token] = left
        else:
            del self._held[access_token]
