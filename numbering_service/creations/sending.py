"""Sends calls to Redis in order and retries while it is unavailable: the one retry policy.

Up to two calls are in flight on one connection; replies come in the order of
the calls. Every failure of the connection (closed, silent, a server that is no
longer the primary, or no longer has the shard) is handled the same way: drop it,
reconnect, resend every call in flight under the ids of its batches. The script answers a batch
that was already done with the stored answer, so nothing happens twice. So does a call
that too few replicas have acknowledged, where there are `replicas` that have to.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any

from redis.exceptions import (
    ClusterCrossSlotError,
    ConnectionError,
    TimeoutError,
)

from contract.shards import ONLY, Shard
from numbering_service.connections.acknowledged import AcknowledgedConnection, open_acknowledged
from numbering_service.connections.script_connection import ScriptConnection, open_connection
from numbering_service.creations.numbers import NumbersScript, not_sent, outcome_unknown
from numbering_service.creations.pending import Batch
from numbering_service.metrics import BATCH_RETRIES
from numbering_service.redis_errors import RETRYABLE
from numbering_service.shard_servers import ShardServers, SpreadError
from web.problems import Problem

MAX_IN_FLIGHT = 2
CALL_SECONDS = 2
FIRST_PAUSE_SECONDS = 0.02
LONGEST_PAUSE_SECONDS = 0.5

_log = logging.getLogger(__name__)


class Call:
    """Batches in flight: what is sent, since when and how often."""

    __slots__ = ("batches", "packed", "sent_at", "times_sent")

    def __init__(self, batches: list[Batch], packed: bytes, times_sent: int) -> None:
        self.batches = batches
        self.packed = packed
        self.sent_at = monotonic()
        self.times_sent = times_sent

    def failure(self) -> Problem:
        return outcome_unknown() if self.times_sent else not_sent()


Connection = ScriptConnection | AcknowledgedConnection


class Sender:
    """Keeps calls in flight until each has a reply or patience has run out."""

    def __init__(
        self,
        servers: ShardServers,
        script: NumbersScript,
        *,
        patience_seconds: float,
        on_done: Callable[[Any], None],
        on_spread: Callable[[], None] | None = None,
        replicas: int = 0,
        shard: Shard = ONLY,
    ) -> None:
        """Send calls to the server of `shard`, or those for all shards to the one that has them.

        `on_done` gets the reply to the oldest call, or a Problem in its place. With `on_spread`,
        calls are for all shards, and if these turn out to be spread over the servers of a cluster,
        it is called instead; it has to `stop` this.
        """
        self._servers = servers
        self._shard = shard
        self._script = script
        self._patience = patience_seconds
        self._replicas = replicas
        self._on_done = on_done
        self._on_spread = on_spread
        self._calls: deque[Call] = deque()
        self._connection: Connection | None = None
        self._recovery: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._failing_since: float | None = None
        self._pause = FIRST_PAUSE_SECONDS
        # Looked up once: each look-up asks the system for the process id.
        self._loop = asyncio.get_running_loop()

    @property
    def _name(self) -> str:
        return f"{self._servers} {'' if self._on_spread else self._shard.tag}".rstrip()

    @property
    def is_unavailable(self) -> bool:
        return self._failing_since is not None

    def send(self, batches: list[Batch], times_sent: int = 0) -> None:
        """Send batches in one call; its outcome goes to `on_done` after those of earlier ones.

        `times_sent` is how often another sender has sent them, under the same ids. Errors in the
        batches themselves are raised here, before they have a place in the order.
        """
        packed = self._script.pack(batches, again=times_sent > 0)
        call = Call(batches, packed, times_sent)
        self._calls.append(call)
        if self._connection is not None:
            self._write(call)
        elif self._recovery is None:
            self._recover(failed=False)

    def stop(self) -> list[Call]:
        """Disconnect, and return the calls in flight, in order."""
        calls = list(self._calls)
        self._calls.clear()
        self._disconnect()
        return calls

    async def aclose(self) -> None:
        if self._recovery is not None:
            self._recovery.cancel()
        self._give_up()
        self._disconnect()

    def _write(self, call: Call) -> None:
        if self._connection is None:
            return  # Lost a moment ago; recovery resends all calls in flight.
        call.sent_at = monotonic()
        if call.times_sent:
            call.packed = self._script.pack(call.batches, again=True)
        try:
            self._connection.write(call.packed)
        except (ConnectionError, RuntimeError) as error:
            self._lose(error)
            return
        call.times_sent += 1
        if call.times_sent > 1:
            BATCH_RETRIES.inc()
        if self._timer is None:
            self._timer = self._loop.call_later(CALL_SECONDS, self._check_time)

    def _check_time(self) -> None:
        """Give up on a silent server; one timer serves all calls, however many a second."""
        self._timer = None
        if not self._calls or self._connection is None:
            return
        left = self._calls[0].sent_at + CALL_SECONDS - monotonic()
        if left > 0:
            self._timer = self._loop.call_later(left, self._check_time)
        else:
            self._lose(TimeoutError("Redis did not answer in time."))

    def _take_reply(self, reply: Any) -> None:
        if not self._calls:
            self._lose(ConnectionError("Redis sent an unsolicited reply."))
        elif isinstance(reply, list):
            self._finish(reply)
        elif isinstance(reply, RETRYABLE):
            self._lose(reply)
        elif isinstance(reply, ClusterCrossSlotError) and self._on_spread is not None:
            self._on_spread()
        elif isinstance(reply, Exception):
            _log.error("Redis rejected a batch: %s", reply)
            self._finish(outcome_unknown())
        else:
            self._lose(ConnectionError("Redis sent an unexpected reply."))

    def _finish(self, outcome: Any) -> None:
        self._note_success()
        self._calls.popleft()
        self._on_done(outcome)

    def _lose(self, error: Exception) -> None:
        """Drop the connection, so that a late reply is not taken for another call's."""
        self._disconnect()
        if self._calls and self._recovery is None:
            self._note_failure(self._calls[0].sent_at, error)
            self._recover(failed=True)

    def _disconnect(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _note_failure(self, since: float, error: Exception) -> None:
        if self._failing_since is None:
            self._failing_since = since
            _log.warning("Redis at %s is unavailable: %s", self._name, error)

    def _note_success(self) -> None:
        if self._failing_since is not None:
            _log.info("Redis at %s is available again", self._name)
            self._failing_since, self._pause = None, FIRST_PAUSE_SECONDS

    def _recover(self, *, failed: bool) -> None:
        self._recovery = self._loop.create_task(self._reconnect(failed=failed))

    async def _reconnect(self, *, failed: bool) -> None:
        """Resend the calls in flight on a new connection, or give them up."""
        try:
            connection = await self._connect_patiently(failed=failed)
        except SpreadError:
            connection = None
            if self._on_spread is not None:
                self._on_spread()
        self._recovery = None
        if connection is None:
            self._give_up()
            return
        self._connection = connection
        connection.listen(self._take_reply, self._lose)
        for call in list(self._calls):
            self._write(call)

    async def _connect_patiently(self, *, failed: bool) -> Connection | None:
        """Connect, with retries until patience has run out; return None then.

        A server that has been unavailable for longer than that gets one try, so
        that requests are refused at once instead of after a wait each.
        """
        while not failed or await self._wait_patiently():
            started = monotonic()
            try:
                return await self._connect()
            except SpreadError:
                raise
            except Exception as error:
                self._note_failure(started, error)
                failed = True
        return None

    async def _connect(self) -> Connection:
        if self._on_spread is None:
            address = await self._servers.address_of(self._shard)
        else:
            address = await self._servers.address_of_all()
        if not self._replicas:
            return await open_connection(address, self._script.source)
        return await open_acknowledged(address, self._script.source, self._replicas)

    async def _wait_patiently(self) -> bool:
        """Back off before the next try; return False when patience has run out."""
        failing_since = self._failing_since or monotonic()
        if monotonic() + self._pause - failing_since > self._patience:
            return False
        await asyncio.sleep(self._pause)
        self._pause = min(self._pause * 2, LONGEST_PAUSE_SECONDS)
        return True

    def _give_up(self) -> None:
        for _ in range(len(self._calls)):
            self._on_done(self._calls.popleft().failure())
