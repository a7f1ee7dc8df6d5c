"""A creation that waits for its number, as the batcher sees it."""

from typing import Protocol

from numbering_service.creation import Answer, AnyCreation


class Pending(Protocol):
    """A creation whose request waits for its answer, and holds `size` bytes meanwhile.

    `numbers` is how many it takes, 1 unless it is a bulk. `waits_since` is when its patience began
    (`time.perf_counter`): with its request, or when it was no longer held back.
    """

    waits_since: float

    @property
    def creation(self) -> AnyCreation: ...
    @property
    def numbers(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def is_disconnected(self) -> bool: ...

    def settle(self, answer: Answer) -> None:
        """Receive the answer; None means that the sequence must be seeded first."""

    def abandon(self) -> None:
        """Record that it was skipped because its client has disconnected."""
