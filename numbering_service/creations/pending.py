"""Creations that wait for their numbers, as the batcher sees them."""

from typing import Protocol

from contract.shards import Shard
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


class Batch:
    """Creations of a shard that are numbered together; their answers are stored under its id."""

    __slots__ = ("id", "pending", "shard")

    def __init__(self, id: str, shard: Shard, pending: list[Pending]) -> None:
        self.id = id
        self.shard = shard
        self.pending = pending
