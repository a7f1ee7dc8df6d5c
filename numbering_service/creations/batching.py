"""Group commit: creations that arrive while a script call is in flight form the next call.

Batches need no timer and add no latency: an idle service sends a batch of one at once, a
busy one shares each round trip, and each fsync of Redis, among many requests
(the "group commit" of DeWitt et al., SIGMOD 1984). A reply has the next call sent before its
creations are answered, so that Redis works while we read and write HTTP. A second call is sent
behind one in flight once it would be as large. Sent earlier, it would only wait for the first
one's fsync, and need one of its own without the creations that arrive meanwhile.

A call has a batch of each shard that has creations waiting. Servers of a cluster refuse calls for
several shards, so there each shard has a batcher of its own (see `sharded`).

There is no task and no future per request: the script's reply settles it. An application
that sends faster than its messages are stored is held back before (see `window`).
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from secrets import token_hex
from typing import Any

from contract.shards import Shards
from numbering_service.creations.numbers import NumbersScript, not_sent
from numbering_service.creations.outcomes import read_outcomes, settle
from numbering_service.creations.pending import Batch, Pending
from numbering_service.creations.sending import MAX_IN_FLIGHT, Call, Sender
from numbering_service.creations.shard_queue import Room, ShardQueue, too_fast
from numbering_service.metrics import BATCHES
from numbering_service.rate_limits import NO_LIMIT, Rate
from numbering_service.shard_servers import ShardServers
from web.problems import InternalError

# Together with the creations that wait for their sequence, this stays below the server's
# budget for bodies (`web.server.limits.Limits`), so that it has room for the next one.
MAX_WAITING_BYTES = 32 * 1024 * 1024
# A call of so many creations is worth its fsync, whatever else is in flight.
ENOUGH = 32
# How often held-back creations are checked while no reply arrives.
LOOK_SECONDS = 0.02

_log = logging.getLogger(__name__)


class Batcher:
    """Collects creations into batches, which are numbered by script calls."""

    def __init__(
        self,
        servers: ShardServers,
        *,
        max_backlog: int,
        default_rate: Rate = NO_LIMIT,
        patience_seconds: float,
        replicas: int = 0,
        queues: Sequence[ShardQueue],
        wake_up: Callable[[int, str], None],
        on_spread: Callable[[], None] | None = None,
    ) -> None:
        """Number what is in `queues`: that of one shard, or with `on_spread` those of all.

        `on_spread` is called once all shards turn out to be spread over the servers of a cluster.
        """
        self._queues = queues
        self._only = None if on_spread else queues[0]
        self._shards = Shards(len(queues))
        self._sender = Sender(
            servers,
            NumbersScript(
                max_backlog=max_backlog, default_rate=default_rate, acknowledged=replicas > 0
            ),
            patience_seconds=patience_seconds,
            on_done=self._finish,
            on_spread=on_spread,
            replicas=replicas,
            shard=queues[0].shard,
        )
        # Redis runs nothing for a client that waits for replicas: a second call in flight would
        # gain nothing, and split what could be one. Of several batchers, others are at work then.
        is_one_of_several = self._only is not None and self._only.shard.tag
        self._max_in_flight = 1 if replicas or is_one_of_several else MAX_IN_FLIGHT
        self._is_looking = False
        self._wake_up = wake_up
        self._calls: deque[list[Batch]] = deque()
        self._turn = 0
        self._is_scheduled = False
        self._idle: asyncio.Future[None] | None = None
        self._prefix = token_hex(8)
        self._batch_numbers = count(1)
        self._loop = asyncio.get_running_loop()

    @property
    def depth(self) -> int:
        return sum(queue.depth for queue in self._queues)

    @property
    def in_flight(self) -> int:
        return len(self._calls)

    def submit(self, pending: Pending) -> None:
        """Queue a creation to be numbered; its answer goes to `pending.settle`.

        It is held back while its application has too much waiting to be stored, and answered with
        Overloaded if that lasts. Raises Overloaded when too much waits to be numbered, in total or
        of this application.
        """
        if self._queue_of(pending.creation.access_token).add(pending):
            self._schedule_if_free()
        else:
            self._look_soon()

    async def drain(self, seconds: float) -> None:
        """Wait up to `seconds` until all submitted creations are settled, then refuse the rest."""
        if self._calls or self.depth:
            self._idle = self._loop.create_future()
            await asyncio.wait([self._idle], timeout=seconds)
            self._idle = None
        for queue in self._queues:
            queue.refuse_waiting(not_sent())
            queue.refuse_held_back(too_fast())

    async def aclose(self) -> None:
        await self._sender.aclose()

    def stop(self) -> list[Call]:
        """Stop without settling anything; return the calls in flight, and leave the queues."""
        self._queues = ()
        self._calls.clear()
        self._tell_if_idle()
        return self._sender.stop()

    def take_over(self, batches: Iterable[tuple[Batch, int]]) -> None:
        """Go on for another batcher: resend batches, sent so many times, and empty the queues."""
        for batch, times_sent in batches:
            self._calls.append([batch])
            self._sender.send([batch], times_sent)
        self._look_soon()
        self._schedule()

    def _queue_of(self, access_token: str) -> ShardQueue:
        return self._only or self._queues[self._shards.number_of(access_token)]

    def _schedule_if_free(self) -> None:
        if not self._is_scheduled and len(self._calls) < self._max_in_flight:
            self._schedule()

    def _schedule(self) -> None:
        """Send a call once this iteration of the event loop has read what else has arrived."""
        self._is_scheduled = True
        self._loop.call_soon(self._send_next)

    def _send_next(self) -> None:
        self._is_scheduled = False
        self._send_waiting()
        self._tell_if_idle()

    def _send_waiting(self) -> None:
        """Send what waits, unless it is fewer than are in flight."""
        if self._may_send():
            batches = self._take_batches()
            if batches:
                self._send(batches)
            if any(queue.waiting for queue in self._queues):
                self._schedule_if_free()

    def _may_send(self) -> bool:
        if not self._calls:
            return any(queue.waiting for queue in self._queues)
        if len(self._calls) == self._max_in_flight:
            return False
        in_flight = sum([len(batch.pending) for batch in self._calls[0]])
        return sum([queue.waiting for queue in self._queues]) >= min(in_flight, ENOUGH)

    def _take_batches(self) -> list[Batch]:
        """Take what fits into a call: shards take turns to be the first, others get what is left.

        Where the room ends a call ends, and the next one begins with another shard.
        """
        batches: list[Batch] = []
        room = Room()
        self._turn += 1
        for position in range(len(self._queues)):
            queue = self._queues[(self._turn + position) % len(self._queues)]
            taken = queue.take(room)
            if taken:
                batches.append(self._batch(queue, taken))
            if queue.waiting:
                break
        return batches

    def _batch(self, queue: ShardQueue, pending: list[Pending]) -> Batch:
        return Batch(f"{self._prefix}-{next(self._batch_numbers)}", queue.shard, pending)

    def _look_soon(self) -> None:
        if not self._is_looking:
            self._is_looking = True
            self._loop.call_later(LOOK_SECONDS, self._look_after_held_back)

    def _look_after_held_back(self) -> None:
        """Let in or refuse those that are held back; ask what is stored if no reply will tell."""
        self._is_looking = False
        for queue in self._queues:
            queue.let_in()
            queue.refuse_held_back_for_too_long()
        held_back = [queue for queue in self._queues if queue.is_holding_back]
        if held_back:
            self._look_soon()
        if any(queue.waiting for queue in self._queues):
            self._schedule_if_free()
        elif held_back and not self._calls:
            self._send([self._batch(queue, []) for queue in held_back])
        self._tell_if_idle()

    def _send(self, batches: list[Batch]) -> None:
        try:
            self._sender.send(batches)
        except Exception:
            _log.exception("a call cannot be sent")
            for batch in batches:
                self._of(batch).refuse(batch.pending, InternalError())
            self._schedule()
        else:
            self._calls.append(batches)

    def _finish(self, outcome: Any) -> None:
        """Settle the oldest call in flight with the script's reply, or the Problem it met."""
        batches = self._calls.popleft()
        replies = read_outcomes(outcome, batches)
        for number, batch in enumerate(batches):
            self._of(batch).note(batch.pending, replies[number])
        for queue in self._queues:
            queue.let_in()
            if self._sender.is_unavailable:
                # Patience has run out: what waits would only fail too, call by call.
                queue.refuse_waiting(not_sent())
                queue.refuse_held_back(not_sent())
        self._send_waiting()
        size = 0
        for number, batch in enumerate(batches):
            reply = replies[number]
            size += len(batch.pending)
            for position, pending in enumerate(batch.pending):
                settle(pending, reply.answers[position])
            if reply.wake:
                self._wake_up(batch.shard.number, batch.pending[0].creation.request_id)
        if size:
            BATCHES.sizes.append(size)
        self._tell_if_idle()

    def _of(self, batch: Batch) -> ShardQueue:
        return self._only or self._queues[batch.shard.number]

    def _tell_if_idle(self) -> None:
        if self._idle is not None and not self._idle.done():
            is_holding_back = any(queue.is_holding_back for queue in self._queues)
            if not (self._calls or self._is_scheduled or is_holding_back):
                self._idle.set_result(None)
