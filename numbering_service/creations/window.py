"""Back-pressure on an application that has more waiting to be stored than is stored in a moment.

Persisting is first in, first out: what one application has waiting delays the messages of
all. While a persister is running, an application may have at most MAX_BYTES waiting; more
is refused, and the client retries (a window like TCP's, with stored bytes in place of
acknowledged ones). While none is running, no message is stored anyway, and only the bound
on the whole backlog applies.

A process counts only what it accepted itself: each of several has its own window.
"""

from collections import deque
from collections.abc import Iterable
from time import monotonic

from numbering_service.creation import Creation
from numbering_service.seeding.backlog import EntryId
from web.problems import Overloaded

MAX_BYTES = 4 * 1024 * 1024
# A refused application gets no replies that report how far persisting is: one request
# is let through at this interval.
PROBE_SECONDS = 0.1
# A longer list would add nothing: once it is full, what is accepted joins its last batch.
MAX_BATCHES = 1024


class Backlog:
    """What each application has waiting to be stored, according to the script's replies."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._waiting: dict[str, int] = {}
        # In the order of the stream: the last entry of a batch, and the bytes of each application.
        self._batches: deque[tuple[EntryId, dict[str, int]]] = deque()
        self._is_being_stored = False
        self._probe_at = 0.0

    def check(self, access_token: str, size: int) -> None:
        """Raise Overloaded when an application has too much waiting for `size` bytes more."""
        waiting = self._waiting.get(access_token, 0)
        if not self._is_being_stored or not waiting or waiting + size <= self._max_bytes:
            return
        now = monotonic()
        if now < self._probe_at:
            raise Overloaded(
                "The application sends faster than its messages are stored; nothing was changed."
            )
        self._probe_at = now + PROBE_SECONDS

    def add(self, last: EntryId, accepted: Iterable[Creation]) -> None:
        """Count the accepted creations of a batch whose last entry is `last`."""
        sizes = self._batches.pop()[1] if len(self._batches) >= MAX_BATCHES else {}
        waiting = self._waiting
        for creation in accepted:
            access_token, size = creation.access_token, creation.body_size
            if not size:
                continue
            sizes[access_token] = sizes.get(access_token, 0) + size
            waiting[access_token] = waiting.get(access_token, 0) + size
        self._batches.append((last, sizes))

    def stored_before(self, oldest: EntryId | None) -> None:
        """Note that every entry before `oldest` is stored; None when no persister is running."""
        self._is_being_stored = oldest is not None
        if oldest is None:
            return
        while self._batches and self._batches[0][0] < oldest:
            _, sizes = self._batches.popleft()
            for access_token, size in sizes.items():
                left = self._waiting[access_token] - size
                if left:
                    self._waiting[access_token] = left
                else:
                    del self._waiting[access_token]
