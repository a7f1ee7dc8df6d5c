"""Holds back an application that has more waiting to be stored than is stored in a moment.

Persisting is first in, first out: what one application has waiting delays the messages of
all. While a persister is at work, an application may have so many bytes waiting and no more;
what comes on top is refused, and its sender tries again (a window as TCP's, with bytes that
were stored in place of bytes that were acknowledged). While none is, nobody's message is
stored anyway, and the bound on the whole backlog is the only one.

Known is what this process accepted: each of several has a window of its own.
"""

from collections import deque
from collections.abc import Iterable
from time import monotonic

from numbering_service.creation import Creation
from web.problems import Overloaded

MAX_BYTES = 4 * 1024 * 1024
# Who is refused sends nothing whose reply would tell how far persisting is: one request
# goes through so often.
PROBE_SECONDS = 0.1
# A longer list would tell no more: what is accepted meanwhile joins its last batch.
MAX_BATCHES = 1024

EntryId = tuple[int, int]


class Backlog:
    """What each application has waiting, as the script's replies tell."""

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
        """Note what was accepted of a batch, whose last entry is `last`."""
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
        """Note that every entry before `oldest` is stored; None when no persister is at work."""
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


def entry_id(text: bytes) -> EntryId | None:
    """The id of an entry of a stream, in an order that compares; None for an empty text."""
    milliseconds, _, counter = text.partition(b"-")
    return (int(milliseconds), int(counter)) if text else None
