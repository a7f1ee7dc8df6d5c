"""Creations that wait for their numbers, as the batcher sees them."""

from contract.shards import Shard
from numbering_service.creation import Answer, AnyCreation


class Pending:
    """A creation whose request waits for its answer, and holds `size` bytes meanwhile.

    `numbers` is how many it takes, 1 unless it is a bulk. `waits_since` is when its patience began
    (`time.perf_counter`): with its request, or when it was no longer held back.

    It is no Protocol, whose attributes compiled code would look up by name each time.
    """

    __slots__ = ("creation", "numbers", "size", "waits_since")

    def __init__(self, creation: AnyCreation, size: int, waits_since: float) -> None:
        self.creation = creation
        self.numbers = creation.numbers
        self.size = size
        self.waits_since = waits_since

    @property
    def is_disconnected(self) -> bool:
        """Whether its client is not there to be answered."""
        raise NotImplementedError

    def settle(self, answer: Answer) -> None:
        """Receive the answer; None means that the sequence must be seeded first."""
        raise NotImplementedError

    def abandon(self) -> None:
        """Record that it was skipped because its client has disconnected."""
        raise NotImplementedError


class Batch:
    """Creations of a shard that are numbered together; their answers are stored under its id."""

    __slots__ = ("id", "pending", "shard")

    def __init__(self, id: str, shard: Shard, pending: list[Pending]) -> None:
        self.id = id
        self.shard = shard
        self.pending = pending
