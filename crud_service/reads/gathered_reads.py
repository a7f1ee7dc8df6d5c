"""Batched reads: requests that arrive while a statement runs share the next statement.

One statement finds many resources at little more than the cost of one, so a
busy server shares each round trip to PostgreSQL among its clients, and an idle
one queries at once. The numbering service batches its writes in the same way.
"""

import asyncio
import logging
import time
from typing import Protocol

from crud_service.reads.connection import Statements
from crud_service.stores.connection_pool import FAILURES, SLOW_FAILURE_SECONDS
from crud_service.stores.database import log_failure
from web.fair_queue import FairQueue
from web.problems import InternalError, Problem, StoreUnavailable

MOST_AT_ONCE = 256
# How many resources a statement may find at first, and once fewer are asked for at a time: what
# many of them hold is known only afterwards.
FEW_AT_ONCE = 16
# A statement that finds more is followed by one for fewer resources.
STATEMENT_BYTES = 1024 * 1024
# Answered in one step; the event loop serves other connections between two.
STEP_BYTES = 1024 * 1024

Key = tuple[str, ...]

logger = logging.getLogger(__name__)


class Waiting(Protocol):
    """A request that waits for a resource."""

    @property
    def key(self) -> Key:
        """The parts of the path that identify the resource."""

    def settle(self, found: bytes | Problem | None) -> None:
        """Take the resource as JSON, None if it does not exist, or the error; must not raise."""


class GatheredReads:
    """Reads of one kind of resource, by a statement made by `chat.reading.batched`.

    Create and use it on a single event loop. `most_at_once` bounds what one statement finds.
    """

    def __init__(
        self,
        statement: str,
        connection: Statements,
        most_at_once: int = MOST_AT_ONCE,
    ) -> None:
        self._statement = statement
        self._connection = connection
        self._most_at_once = most_at_once
        self._few = self._most = min(FEW_AT_ONCE, most_at_once)
        self._waiting: FairQueue[Waiting] = FairQueue()
        self._reader: asyncio.Task[None] | None = None

    def find(self, waiting: Waiting, owner: str = "") -> None:
        """Queue a read; `waiting.settle` gets its result.

        Where reads may be long, they have owners, which take turns.
        """
        self._waiting.push(owner, waiting)
        if self._reader is None:
            self._reader = asyncio.get_running_loop().create_task(self._read_all())

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()

    async def _read_all(self) -> None:
        try:
            while self._waiting:
                await self._read(self._waiting.take(self._most))
        finally:
            self._reader = None

    async def _read(self, batch: list[Waiting]) -> None:
        started = time.monotonic()
        try:
            columns = zip(*(waiting.key for waiting in batch), strict=True)
            parameters = [",".join(column) for column in columns]
            found = await self._connection.fetch(self._statement, parameters)
        except Exception as error:
            problem: Problem = StoreUnavailable()
            if isinstance(error, FAILURES):
                log_failure(error)
            else:
                logger.exception("a read failed")
                problem = InternalError()
            if time.monotonic() - started > SLOW_FAILURE_SECONDS:
                # Requests that arrived meanwhile have waited long enough.
                batch = [*batch, *self._waiting.take_all()]
            for waiting in batch:
                waiting.settle(problem)
        else:
            answered = paused_at = 0
            for waiting, (resource,) in zip(batch, found, strict=True):
                if answered > paused_at + STEP_BYTES:
                    paused_at = answered
                    await asyncio.sleep(0)
                waiting.settle(resource)
                answered += len(resource or b"")
            self._adapt(answered, len(batch))

    def _adapt(self, found_bytes: int, count: int) -> None:
        """Choose how many resources the next statement may find, after one that found these."""
        if found_bytes > STATEMENT_BYTES:
            self._most = max(1, count // 2)
        elif count == self._most:
            self._most = min(self._most * 2, self._most_at_once)
        elif self._most > self._few:
            self._most -= 1
