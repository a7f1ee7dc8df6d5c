"""Tells which application has more waiting to be stored than is stored in a moment.

Persisting is first in, first out: what one application has waiting delays the messages of
all. While a persister makes progress, an application may have a limited number of bytes on
their way to PostgreSQL; anything beyond waits, and so does its sender (a window as in TCP,
with stored bytes in place of acknowledged ones). While nothing is being stored, nobody's
message becomes readable sooner, and the bound on the whole backlog is the only one.

A process only knows what it accepted itself: each of several has a window of its own.
"""

from collections import deque
from collections.abc import Callable, Iterable
from time import monotonic
from typing import NamedTuple

from contract.entries import EntryId
from numbering_service.creation import AnyCreation

MAX_BYTES = 4 * 1024 * 1024
# What a number counts besides its text: storing some 8,000 rows without any takes as long as
# storing 4 MiB of long ones. Without it, bulks of single letters delayed others by ten seconds.
ROW_BYTES = 512
# After so long without progress, or without a report of any, nobody is held back.
STALL_SECONDS = 2.0
# A longer list would be no more exact in practice: later batches are merged into its last one.
MAX_BATCHES = 1024


class Accepted(NamedTuple):
    """A batch in the stream: the id of its last entry, and the bytes of each application."""

    last: EntryId
    sizes: dict[str, int]


class Window:
    """The bytes of each application between `take` and PostgreSQL."""

    def __init__(
        self,
        max_bytes: int = MAX_BYTES,
        max_batches: int = MAX_BATCHES,
        clock: Callable[[], float] = monotonic,
        row_bytes: int = ROW_BYTES,
    ) -> None:
        """A creation counts as the bytes of its text, and `row_bytes` for each of its numbers."""
        self._clock = clock
        self._max_bytes = max_bytes
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
        size = self._size_of(creation)
        held = self._held.get(creation.access_token, 0)
        if held and held + size > self._max_bytes and self._makes_progress():
            return False
        self._held[creation.access_token] = held + size
        return True

    def give_back(self, creation: AnyCreation) -> None:
        self._release(creation.access_token, self._size_of(creation))

    def accept(self, last: EntryId, accepted: Iterable[AnyCreation]) -> None:
        sizes = self._batches.pop().sizes if len(self._batches) >= self._max_batches else {}
        for creation in accepted:
            access_token = creation.access_token
            sizes[access_token] = sizes.get(access_token, 0) + self._size_of(creation)
        self._batches.append(Accepted(last, sizes))

    def stored_before(self, oldest: EntryId | None) -> None:
        """Record that every entry before `oldest` is stored; None tells nothing."""
        if oldest is None:
            return
        if oldest != self._oldest:
            self._oldest, self._progress_at = oldest, self._clock()
        while self._batches and self._batches[0].last < oldest:
            for access_token, size in self._batches.popleft().sizes.items():
                self._release(access_token, size)

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
