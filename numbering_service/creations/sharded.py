"""Batches for each shard: a shard's creations are numbered by calls of its own.

Shards do not wait for each other, so one whose server is unavailable holds up no other. What waits
is bounded for all of them together.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from contract.shards import Shards
from numbering_service.creations.batching import Batcher
from numbering_service.creations.pending import Pending


class Batching(Protocol):
    """What numbers creations in batches: a `Batcher`, or one for each shard."""

    def submit(self, pending: Pending) -> None: ...
    def check(self, access_token: str, size: int) -> None: ...
    async def drain(self, seconds: float) -> None: ...


class ShardedBatcher:
    """Passes each creation to the batcher of its application's shard."""

    def __init__(self, batchers: Sequence[Batcher]) -> None:
        """`batchers` are those of all shards, in order."""
        self._batchers = batchers
        self._shards = Shards(len(batchers))

    @property
    def depth(self) -> int:
        return sum(batcher.depth for batcher in self._batchers)

    def submit(self, pending: Pending) -> None:
        """Do what `Batcher.submit` does."""
        self._of(pending.creation.access_token).submit(pending)

    def check(self, access_token: str, size: int) -> None:
        """Do what `Batcher.check` does."""
        self._of(access_token).check(access_token, size)

    def _of(self, access_token: str) -> Batcher:
        return self._batchers[self._shards.number_of(access_token)]

    async def drain(self, seconds: float) -> None:
        await asyncio.gather(*(batcher.drain(seconds) for batcher in self._batchers))

    async def aclose(self) -> None:
        for batcher in self._batchers:
            await batcher.aclose()
