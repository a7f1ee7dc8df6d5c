"""A shard's creations that are not sent yet: those that wait for a call, and those held back."""

import logging
from collections import deque
from collections.abc import Iterable
from time import perf_counter
from typing import Final

from contract.shards import ONLY, Shard
from numbering_service.creation import AnyCreation, Created
from numbering_service.creations.held_back import HeldBack
from numbering_service.creations.numbers import RejectedEntry, Reply
from numbering_service.creations.outcomes import settle
from numbering_service.creations.pending import Pending
from numbering_service.creations.shares import Shares
from numbering_service.creations.window import Window
from numbering_service.metrics import BATCHES
from web.problems import Overloaded, Problem

MAX_BATCH: Final = 512  # numbers, so a bulk fills one
MAX_BATCH_BYTES: Final = 4 * 1024 * 1024

_REJECTED = (
    "Redis rejected an entry: the key of its sequence, of its idempotency key or of the stream"
    " holds something else, or the user of Redis lacks a command"
)
_log = logging.getLogger(__name__)


class Room:
    """What a call still has room for. The first creation always fits."""

    __slots__ = ("_numbers", "_size", "is_untouched")

    def __init__(self) -> None:
        self.is_untouched = True
        self._numbers = MAX_BATCH
        self._size = MAX_BATCH_BYTES

    def take(self, pending: Pending) -> bool:
        """Return whether a creation fits, and take its room if it does."""
        numbers, size = self._numbers - pending.numbers, self._size - pending.size
        if (numbers < 0 or size < 0) and not self.is_untouched:
            return False
        self.is_untouched, self._numbers, self._size = False, numbers, size
        return True


class ShardQueue:
    """Takes creations in, applies the window, and gives them out in batches."""

    __slots__ = ("_held_back", "_shares", "_waiting", "_window", "shard")

    def __init__(
        self,
        shares: Shares,
        shard: Shard = ONLY,
        window: Window | None = None,
        held_back: HeldBack | None = None,
    ) -> None:
        """`shares` bounds what waits, here and wherever else they are used."""
        self.shard = shard
        self._shares = shares
        self._window = Window() if window is None else window
        self._held_back = HeldBack() if held_back is None else held_back
        self._waiting: deque[Pending] = deque()

    @property
    def depth(self) -> int:
        return len(self._waiting) + len(self._held_back)

    @property
    def waiting(self) -> int:
        """How many creations wait to be sent."""
        return len(self._waiting)

    @property
    def is_holding_back(self) -> bool:
        return bool(self._held_back)

    def add(self, pending: Pending) -> bool:
        """Add a creation; return whether it waits to be sent, rather than being held back.

        Raises Overloaded when too much waits, in total or of its application.
        """
        creation = pending.creation
        self._shares.take(creation.access_token, pending.size, pending.numbers)
        if creation.access_token in self._held_back or not self._window.take(creation):
            self._held_back.add(pending)
            return False
        self._waiting.append(pending)
        return True

    def let_in(self) -> None:
        """Let those wait to be sent that need not be held back any longer."""
        if not self._held_back:
            return
        for pending in self._held_back.let_in(self._window.take):
            if pending.is_disconnected:
                self._give_back_share(pending)
                pending.abandon()
            else:
                pending.waits_since = perf_counter()
                self._waiting.append(pending)

    def take(self, room: Room) -> list[Pending]:
        """Take the next creations that fit, skipping those whose clients have disconnected."""
        taken: list[Pending] = []
        waiting = self._waiting
        while waiting:
            pending = waiting[0]
            if pending.is_disconnected:
                self._window.give_back(self._dequeue().creation)
                pending.abandon()
            elif room.take(pending):
                taken.append(self._dequeue())
            else:
                break
        return taken

    def note(self, batch: list[Pending], reply: Reply) -> None:
        """Count what became of what was taken."""
        accepted: list[AnyCreation] = []
        rejected: list[AnyCreation] = []
        numbers = 0
        for position, pending in enumerate(batch):
            answer = reply.answers[position]
            if isinstance(answer, Created) and not answer.replayed:
                accepted.append(pending.creation)
                numbers += pending.numbers
            else:
                self._window.give_back(pending.creation)
                if isinstance(answer, RejectedEntry):
                    rejected.append(pending.creation)
        if rejected:
            # One line for all, whose requests are logged, too.
            first = {"request_id": rejected[0].request_id, "rejected": len(rejected)}
            _log.error(_REJECTED, extra=first)
        BATCHES.created += numbers
        if reply.last is not None:
            self._window.accept(reply.last, accepted)
        self._window.stored_before(reply.oldest)

    def refuse(self, taken: list[Pending], problem: Problem) -> None:
        """Refuse what was taken."""
        for pending in taken:
            self._window.give_back(pending.creation)
            settle(pending, problem)

    def refuse_waiting(self, problem: Problem) -> None:
        self.refuse([self._dequeue() for _ in range(len(self._waiting))], problem)

    def refuse_held_back(self, problem: Problem) -> None:
        self._refuse_uncounted(self._held_back.clear(), problem)

    def refuse_held_back_for_too_long(self) -> None:
        self._refuse_uncounted(self._held_back.expire(), too_fast())

    def _refuse_uncounted(self, refused: Iterable[Pending], problem: Problem) -> None:
        """Refuse creations that the window has not counted."""
        for pending in refused:
            self._give_back_share(pending)
            if pending.is_disconnected:
                pending.abandon()
            else:
                settle(pending, problem)

    def _dequeue(self) -> Pending:
        pending = self._waiting.popleft()
        self._give_back_share(pending)
        return pending

    def _give_back_share(self, pending: Pending) -> None:
        self._shares.give_back(pending.creation.access_token, pending.size, pending.numbers)


def too_fast() -> Overloaded:
    """Return the refusal of what was held back for too long, or is at shutdown."""
    return Overloaded(
        "The application sends faster than its messages are stored; nothing was changed."
    )
