"""A creation on its way to a number, as those see it that have it wait."""

from typing import Protocol

from numbering_service.creation import AnyCreation
from numbering_service.creations.numbers import Answer


class Pending(Protocol):
    """A creation whose request waits for its answer, and holds `size` bytes meanwhile.

    `numbers` is how many it takes, 1 unless it is a bulk.
    """

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
