"""Group commit: requests that arrive while a script call is in flight are the next call.

No timer and no added latency: an idle service sends a batch of one at once, a
busy one shares each round trip, and each fsync of Redis, among many requests
(the "group commit" of DeWitt et al., SIGMOD 1984).
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable

from contract.problems import Overloaded, Problem
from numbering_service.creation import Created, Creation
from numbering_service.metrics import BATCH_SIZE
from numbering_service.numbers import Answer, Numbers, away

MAX_BATCH = 512
MAX_BATCH_BYTES = 4 * 1024 * 1024

_log = logging.getLogger(__name__)

Waiting = tuple[Creation, "asyncio.Future[Created | None]"]


class Batcher:
    """Gathers creations and numbers them together, one batch in flight at a time."""

    def __init__(
        self, numbers: Numbers, *, max_waiting: int, wake_up: Callable[[str], None]
    ) -> None:
        self._numbers = numbers
        self._max_waiting = max_waiting
        self._wake_up = wake_up
        self._waiting: deque[Waiting] = deque()
        self._sender: asyncio.Task[None] | None = None
        # Asked for once: each call asks the system for the process id, which took
        # a seventh of a creation's time.
        self._loop = asyncio.get_running_loop()

    @property
    def depth(self) -> int:
        """How many creations wait for a batch."""
        return len(self._waiting)

    async def submit(self, creation: Creation) -> Created | None:
        """Number a creation; None when its sequence has to be seeded first.

        Raises Overloaded when too many wait already, StoreUnavailable when
        Redis stays away, KeyReused for an idempotency key with another payload.
        Cancelling the caller takes nobody else's place in the batch away.
        """
        if len(self._waiting) >= self._max_waiting:
            raise Overloaded
        future: asyncio.Future[Created | None] = self._loop.create_future()
        self._waiting.append((creation, future))
        if self._sender is None:
            self._sender = self._loop.create_task(self._send_all())
        return await future

    async def drain(self) -> None:
        """Wait until everything submitted was answered."""
        if self._sender is not None:
            await self._sender

    async def _send_all(self) -> None:
        try:
            while self._waiting:
                await self._send(self._take_batch())
        finally:
            self._sender = None

    def _take_batch(self) -> list[Waiting]:
        """The next batch; a request whose client has gone by now is left out."""
        batch: list[Waiting] = []
        size = 0
        while self._waiting and len(batch) < MAX_BATCH and size < MAX_BATCH_BYTES:
            waiting = self._waiting.popleft()
            if not waiting[1].done():
                batch.append(waiting)
                size += len(waiting[0].body)
        return batch

    async def _send(self, batch: list[Waiting]) -> None:
        if not batch:
            return
        try:
            wake, answers = await self._numbers.next_numbers([creation for creation, _ in batch])
        except Problem as problem:
            wake, answers = False, [problem] * len(batch)
        except Exception:
            _log.exception("a batch failed")
            wake, answers = False, [away()] * len(batch)
        BATCH_SIZE.observe(len(batch))
        for (_, future), answer in zip(batch, answers, strict=True):
            settle(future, answer)
        if wake:
            self._wake_up(batch[0][0].request_id)


def settle(future: "asyncio.Future[Created | None]", answer: Answer) -> None:
    """Hand an answer to whoever waits for it, unless they have gone."""
    if future.done():
        return
    if isinstance(answer, Problem):
        future.set_exception(answer)
    else:
        future.set_result(answer)
