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
from collections.abc import Callable, Iterable
from itertools import count
from secrets import token_hex
from time import perf_counter
from typing import Any

from contract.shards import ONLY, Shard
from numbering_service.creation import AnyCreation, Created
from numbering_service.creations.held_back import HeldBack
from numbering_service.creations.numbers import NumbersScript, Reply, not_sent
from numbering_service.creations.outcomes import read_outcome, settle
from numbering_service.creations.pending import Pending
from numbering_service.creations.sending import MAX_IN_FLIGHT, Sender
from numbering_service.creations.shares import Shares
from numbering_service.creations.window import Window
from numbering_service.metrics import BATCH_SIZE, CREATED
from numbering_service.rate_limits import NO_LIMIT, Rate
from numbering_service.shard_servers import ShardServers
from web.problems import InternalError, Overloaded, Problem

MAX_BATCH = 512  # numbers, so a bulk fills one
MAX_BATCH_BYTES = 4 * 1024 * 1024
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
        shares: Shares,
        patience_seconds: float,
        replicas: int = 0,
        shard: Shard = ONLY,
        wake_up: Callable[[str], None],
        window: Window | None = None,
        held_back: HeldBack | None = None,
    ) -> None:
        """`shares` bounds what waits, here and wherever else they are used."""
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
        self._shares = shares
        self._window = Window() if window is None else window
        self._held_back = HeldBack() if held_back is None else held_back
        self._is_looking = False
        self._wake_up = wake_up
        self._waiting: deque[Pending] = deque()
        self._batches: deque[list[Pending]] = deque()
        self._is_scheduled = False
        self._idle: asyncio.Future[None] | None = None
        self._prefix = token_hex(8)
        self._batch_numbers = count(1)
        self._loop = asyncio.get_running_loop()

    @property
    def depth(self) -> int:
        return len(self._waiting) + len(self._held_back)

    @property
    def in_flight(self) -> int:
        return len(self._batches)

    def submit(self, pending: Pending) -> None:
        """Queue a creation to be numbered; its answer goes to `pending.settle`.

        It is held back while its application has too much waiting to be stored, and answered with
        Overloaded if that lasts. Raises Overloaded when too much waits to be numbered, in total or
        of this application.
        """
        creation = pending.creation
        self._shares.take(creation.access_token, pending.size, pending.numbers)
        if creation.access_token in self._held_back or not self._window.take(creation):
            self._held_back.add(pending)
            self._look_soon()
        else:
            self._queue(pending)

    def check(self, access_token: str, size: int) -> None:
        """Raise Overloaded if too much of an application waits to add `size` bytes.

        To be asked before reading a large request: it is refused a second time in `submit`.
        """
        self._shares.check(access_token, size)

    async def drain(self, seconds: float) -> None:
        """Wait up to `seconds` until all submitted creations are settled, then refuse the rest."""
        if self._batches or self._waiting or self._held_back:
            self._idle = self._loop.create_future()
            await asyncio.wait([self._idle], timeout=seconds)
            self._idle = None
        self._refuse_waiting()
        self._refuse_held_back(self._held_back.clear(), too_fast())

    async def aclose(self) -> None:
        await self._sender.aclose()

    def _queue(self, pending: Pending) -> None:
        self._waiting.append(pending)
        if not self._is_scheduled and len(self._batches) < self._max_in_flight:
            self._schedule()

    def _schedule(self) -> None:
        """Send a batch once this iteration of the event loop has read what else has arrived."""
        self._is_scheduled = True
        self._loop.call_soon(self._send_next)

    def _send_next(self) -> None:
        self._is_scheduled = False
        batch = self._take_batch() if len(self._batches) < self._max_in_flight else []
        if batch:
            self._send(batch)
        self._tell_if_idle()

    def _look_soon(self) -> None:
        if not self._is_looking:
            self._is_looking = True
            self._loop.call_later(LOOK_SECONDS, self._look_after_held_back)

    def _look_after_held_back(self) -> None:
        """Let in or refuse those that are held back; ask what is stored if no reply will tell."""
        self._is_looking = False
        if self._held_back:
            self._look_soon()
        self._let_in()
        self._refuse_held_back(self._held_back.expire(), too_fast())
        if self._held_back and not self._batches and not self._is_scheduled:
            self._send([])
        self._tell_if_idle()

    def _let_in(self) -> None:
        for pending in self._held_back.let_in(self._window.take):
            if pending.is_disconnected:
                self._give_back_share(pending)
                pending.abandon()
            else:
                pending.waits_since = perf_counter()
                self._queue(pending)

    def _send(self, batch: list[Pending]) -> None:
        try:
            batch_id = f"{self._prefix}-{next(self._batch_numbers)}"
            self._sender.send(batch_id, [pending.creation for pending in batch])
        except Exception:
            _log.exception("a batch cannot be sent")
            self._refuse(batch, InternalError())
            self._schedule()
        else:
            self._batches.append(batch)

    def _take_batch(self) -> list[Pending]:
        """Take the next batch, skipping creations whose clients have disconnected."""
        batch: list[Pending] = []
        waiting, size, numbers = self._waiting, 0, 0
        while waiting:
            size += waiting[0].size
            numbers += waiting[0].numbers
            if batch and (size > MAX_BATCH_BYTES or numbers > MAX_BATCH):
                break
            pending = self._dequeue()
            if pending.is_disconnected:
                self._window.give_back(pending.creation)
                pending.abandon()
            else:
                batch.append(pending)
        return batch

    def _finish(self, outcome: Any) -> None:
        """Settle the oldest batch in flight with the script's reply, or the Problem it met."""
        batch = self._batches.popleft()
        reply = read_outcome(outcome, len(batch))
        if batch:
            BATCH_SIZE.observe(len(batch))
        self._note_accepted(batch, reply)
        for pending, answer in zip(batch, reply.answers, strict=True):
            settle(pending, answer)
        if reply.wake:
            self._wake_up(batch[0].creation.request_id)
        self._let_in()
        if self._sender.is_unavailable:
            # Patience has run out: the waiting creations would only fail too, batch by batch.
            self._refuse_waiting()
            self._refuse_held_back(self._held_back.clear(), not_sent())
        self._send_next()

    def _note_accepted(self, batch: list[Pending], reply: Reply) -> None:
        accepted: list[AnyCreation] = []
        numbers = 0
        for pending, answer in zip(batch, reply.answers, strict=True):
            creation = pending.creation
            if isinstance(answer, Created) and not answer.replayed:
                accepted.append(creation)
                numbers += pending.numbers
            else:
                self._window.give_back(creation)
        CREATED.inc(numbers)
        if reply.last is not None:
            self._window.accept(reply.last, accepted)
        self._window.stored_before(reply.oldest)

    def _tell_if_idle(self) -> None:
        is_busy = self._batches or self._is_scheduled or self._held_back
        if self._idle is not None and not self._idle.done() and not is_busy:
            self._idle.set_result(None)

    def _dequeue(self) -> Pending:
        pending = self._waiting.popleft()
        self._give_back_share(pending)
        return pending

    def _give_back_share(self, pending: Pending) -> None:
        self._shares.give_back(pending.creation.access_token, pending.size, pending.numbers)

    def _refuse_waiting(self) -> None:
        self._refuse([self._dequeue() for _ in range(len(self._waiting))], not_sent())

    def _refuse_held_back(self, refused: Iterable[Pending], problem: Problem) -> None:
        """Refuse creations that the window has not counted."""
        for pending in refused:
            self._give_back_share(pending)
            if pending.is_disconnected:
                pending.abandon()
            else:
                settle(pending, problem)

    def _refuse(self, refused: list[Pending], problem: Problem) -> None:
        for pending in refused:
            self._window.give_back(pending.creation)
            settle(pending, problem)


def too_fast() -> Overloaded:
    return Overloaded(
        "The application sends faster than its messages are stored; nothing was changed."
    )
