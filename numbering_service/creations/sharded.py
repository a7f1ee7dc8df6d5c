"""Batches of several shards: in one call on a server that has all of them, else in one for each.

One call for all costs hardly more than one for a single shard. A server of a cluster refuses it,
even one that has all slots. So creations go to one batcher of all shards until that finds a
cluster; from then on each shard has its own. Those work on any servers, also on one that has left
a cluster, so nothing is put together again.
"""

import asyncio
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Protocol

from contract.shards import Shards
from numbering_service.creations.batching import Batcher
from numbering_service.creations.pending import Pending
from numbering_service.creations.shard_queue import ShardQueue


class Batching(Protocol):
    """What numbers creations in batches: a `Batcher`, or several."""

    def submit(self, pending: Pending) -> None: ...
    async def drain(self, seconds: float) -> None: ...


Make = Callable[[Sequence[ShardQueue], Callable[[], None] | None], Batcher]
"""Makes a batcher of queues, and of what it calls if they are spread over servers."""


class ShardedBatcher:
    """Passes each creation to the batcher of its application's shard, or of all shards."""

    def __init__(self, queues: Sequence[ShardQueue], make: Make) -> None:
        """`queues` are those of all shards, in order."""
        self._queues = queues
        self._make = make
        self._shards = Shards(len(queues))
        self._together: Batcher | None = make(queues, self._spread if len(queues) > 1 else None)
        self._batchers = [self._together]

    @property
    def depth(self) -> int:
        return sum(queue.depth for queue in self._queues)

    def submit(self, pending: Pending) -> None:
        """Do what `Batcher.submit` does."""
        self._of(pending.creation.access_token).submit(pending)

    async def drain(self, seconds: float) -> None:
        """Do what `Batcher.drain` does; batchers may be replaced meanwhile."""
        deadline = monotonic() + seconds
        drained: list[Batcher] = []
        while drained is not self._batchers:
            drained = self._batchers
            left = max(0.0, deadline - monotonic())
            await asyncio.gather(*[batcher.drain(left) for batcher in drained])

    async def aclose(self) -> None:
        for batcher in self._batchers:
            await batcher.aclose()

    def _of(self, access_token: str) -> Batcher:
        return self._together or self._batchers[self._shards.number_of(access_token)]

    def _spread(self) -> None:
        """Go on with a batcher for each shard.

        Batches in flight keep their ids: what was done before the server became one of a cluster
        is not done again.
        """
        if self._together is None:
            return
        calls = self._together.stop()
        self._together = None
        self._batchers = [self._make([queue], None) for queue in self._queues]
        for number, batcher in enumerate(self._batchers):
            batcher.take_over(
                (batch, call.times_sent)
                for call in calls
                for batch in call.batches
                if batch.shard.number == number
            )
