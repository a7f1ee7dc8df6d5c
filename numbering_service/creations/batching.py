"""Group commit: creations that arrive while a script call is in flight form the next call.

Batches need no timer and add no latency: an idle service sends a batch of one at once, a
busy one shares each round trip, and each fsync of Redis, among many requests
(the "group commit" of DeWitt et al., SIGMOD 1984). A second batch is sent before
the first is answered, so that Redis works while we read and write HTTP.

There is no task and no future per request: the script's reply settles it. An application
that sends faster than its messages are stored is held back before (see `window`).
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from itertools import count
from secrets import token_hex
from typing import Any

from numbering_service.creations.numbers import NumbersScript, not_sent
from numbering_service.creations.outcomes import read_outcome
from numbering_service.creations.pending import Pending
from numbering_service.creations.sending import MAX_IN_FLIGHT, Sender
from numbering_service.creations.shard_queue import Room, ShardQueue, too_fast
from numbering_service.metrics import BATCH_SIZE
from numbering_service.rate_limits import NO_LIMIT, Rate
from numbering_service.shard_servers import ShardServers
from web.problems import InternalError

# Together with the creations that wait for their sequence, this stays below the server's
# budget for bodies (`web.server.limits.Limits`), so that it has room for the next one.
MAX_WAITING_BYTES = 32 * 1024 * 1024
# How often held-back creations are checked while no reply arrives.
LOOK_SECONDS = 0.02

_log = logging.getLogger(__name__)


class Batcher:
    """Collects creations into batches, each of which is numbered by one script call."""

    def __init__(
        self,
        servers: ShardServers,
        *,
        max_backlog: int,
        default_rate: Rate = NO_LIMIT,
        patience_seconds: float,
        replicas: int = 0,
        queue: ShardQueue,
        wake_up: Callable[[str], None],
    ) -> None:
        """Number what is in `queue`, on the server of its shard."""
        shard = queue.shard
        self._queue = queue
        self._sender = Sender(
            servers,
            NumbersScript(
                max_backlog=max_backlog,
                default_rate=default_rate,
                acknowledged=replicas > 0,
                shard=shard,
            ),
            patience_seconds=patience_seconds,
            on_done=self._finish,
            replicas=replicas,
            shard=shard,
        )
        # Redis runs nothing for a client that waits for replicas: a second batch in flight would
        # gain nothing, and split what could be one. Of several shards, others are at work then.
        self._max_in_flight = 1 if replicas or shard.tag else MAX_IN_FLIGHT
        self._is_looking = False
        self._wake_up = wake_up
        self._batches: deque[list[Pending]] = deque()
        self._is_scheduled = False
        self._idle: asyncio.Future[None] | None = None
        self._prefix = token_hex(8)
        self._batch_numbers = count(1)
        self._loop = asyncio.get_running_loop()

    @property
    def depth(self) -> int:
        return self._queue.depth

    @property
    def in_flight(self) -> int:
        return len(self._batches)

    def submit(self, pending: Pending) -> None:
        """Queue a creation to be numbered; its answer goes to `pending.settle`.

        It is held back while its application has too much waiting to be stored, and answered with
        Overloaded if that lasts. Raises Overloaded when too much waits to be numbered, in total or
        of this application.
        """
        if self._queue.add(pending):
            self._schedule_if_free()
        else:
            self._look_soon()

    def check(self, access_token: str, size: int) -> None:
        """Raise Overloaded if too much of an application waits to add `size` bytes.

        To be asked before reading a large request: it is refused a second time in `submit`.
        """
        self._queue.check(access_token, size)

    async def drain(self, seconds: float) -> None:
        """Wait up to `seconds` until all submitted creations are settled, then refuse the rest."""
        if self._batches or self.depth:
            self._idle = self._loop.create_future()
            await asyncio.wait([self._idle], timeout=seconds)
            self._idle = None
        self._queue.refuse_waiting(not_sent())
        self._queue.refuse_held_back(too_fast())

    async def aclose(self) -> None:
        await self._sender.aclose()

    def _schedule_if_free(self) -> None:
        if not self._is_scheduled and len(self._batches) < self._max_in_flight:
            self._schedule()

    def _schedule(self) -> None:
        """Send a batch once this iteration of the event loop has read what else has arrived."""
        self._is_scheduled = True
        self._loop.call_soon(self._send_next)

    def _send_next(self) -> None:
        self._is_scheduled = False
        if len(self._batches) < self._max_in_flight:
            batch = self._queue.take(Room())
            if batch:
                self._send(batch)
            if self._queue.is_waiting:
                self._schedule_if_free()
        self._tell_if_idle()

    def _look_soon(self) -> None:
        if not self._is_looking:
            self._is_looking = True
            self._loop.call_later(LOOK_SECONDS, self._look_after_held_back)

    def _look_after_held_back(self) -> None:
        """Let in or refuse those that are held back; ask what is stored if no reply will tell."""
        self._is_looking = False
        if self._queue.is_holding_back:
            self._look_soon()
            self._queue.let_in()
            self._queue.refuse_held_back_for_too_long()
            if self._queue.is_waiting:
                self._schedule_if_free()
            elif self._queue.is_holding_back and not self._batches:
                self._send([])
        self._tell_if_idle()

    def _send(self, batch: list[Pending]) -> None:
        try:
            batch_id = f"{self._prefix}-{next(self._batch_numbers)}"
            self._sender.send(batch_id, [pending.creation for pending in batch])
        except Exception:
            _log.exception("a batch cannot be sent")
            self._queue.refuse(batch, InternalError())
            self._schedule()
        else:
            self._batches.append(batch)

    def _finish(self, outcome: Any) -> None:
        """Settle the oldest batch in flight with the script's reply, or the Problem it met."""
        batch = self._batches.popleft()
        reply = read_outcome(outcome, len(batch))
        if batch:
            BATCH_SIZE.observe(len(batch))
        self._queue.settle(batch, reply)
        if reply.wake:
            self._wake_up(batch[0].creation.request_id)
        self._queue.let_in()
        if self._sender.is_unavailable:
            # Patience has run out: the waiting creations would only fail too, batch by batch.
            self._queue.refuse_waiting(not_sent())
            self._queue.refuse_held_back(not_sent())
        self._send_next()

    def _tell_if_idle(self) -> None:
        is_busy = self._batches or self._is_scheduled or self._queue.is_holding_back
        if self._idle is not None and not self._idle.done() and not is_busy:
            self._idle.set_result(None)
