"""Batched reads: requests that arrive while a statement runs share the next statement.

One statement finds many resources at little more than the cost of one, so a
busy server shares each round trip to PostgreSQL among its clients, and an idle
one queries at once. The numbering service batches its writes in the same way.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Any, Protocol

import psycopg
from django.conf import settings

from crud_service.stores.database import PARAMETERS, SLOW_FAILURE_SECONDS, BytesLoader, Pause
from crud_service.stores.overdue import LIMIT_SECONDS, hang_up
from web.problems import InternalError, Problem, StoreUnavailable

MOST_AT_ONCE = 256

Key = tuple[str, ...]
Connection = psycopg.AsyncConnection[tuple[Any, ...]]

logger = logging.getLogger(__name__)


class Waiting(Protocol):
    """A request that waits for a resource."""

    @property
    def key(self) -> Key:
        """The parts of the path that identify the resource."""

    def settle(self, found: bytes | Problem | None) -> None:
        """Take the resource as JSON, None if it does not exist, or the error; must not raise."""


class GatheredReads:
    """Reads of one kind of resource, by one of the statements in `chat.reading`.

    Create and use it on a single event loop; it connects on first use.
    """

    def __init__(self, statement: str) -> None:
        self._statement = statement
        self._waiting: list[Waiting] = []
        self._reader: asyncio.Task[None] | None = None
        self._connection: Connection | None = None
        self._pause = Pause()

    def find(self, waiting: Waiting) -> None:
        """Queue a read; `waiting.settle` gets its result."""
        self._waiting.append(waiting)
        if self._reader is None:
            self._reader = asyncio.get_running_loop().create_task(self._read_all())

    async def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            await self._connection.close()

    async def _read_all(self) -> None:
        try:
            while self._waiting:
                batch = self._waiting[:MOST_AT_ONCE]
                del self._waiting[: len(batch)]
                await self._read(batch)
        finally:
            self._reader = None

    async def _read(self, batch: list[Waiting]) -> None:
        started = time.monotonic()
        try:
            columns = zip(*(waiting.key for waiting in batch), strict=True)
            found = await self._fetch([",".join(column) for column in columns])
        except Exception as error:
            problem: Problem = StoreUnavailable()
            if not isinstance(error, psycopg.OperationalError):
                logger.exception("a read failed")
                problem = InternalError()
            if time.monotonic() - started > SLOW_FAILURE_SECONDS:
                # Requests that arrived meanwhile have waited long enough.
                batch = [*batch, *self._waiting]
                self._waiting.clear()
            for waiting in batch:
                waiting.settle(problem)
        else:
            for waiting, (resource,) in zip(batch, found, strict=True):
                waiting.settle(resource)

    async def _fetch(self, parameters: Sequence[str]) -> Sequence[tuple[Any, ...]]:
        """Execute the statement and return its rows; retry once if the connection was dead."""
        started = time.monotonic()
        if self._connection is not None:
            try:
                return await self._ask(self._connection, parameters)
            except psycopg.OperationalError:
                if time.monotonic() - started > SLOW_FAILURE_SECONDS:
                    raise
        return await self._ask(await self._connect(), parameters)

    async def _ask(
        self, connection: Connection, parameters: Sequence[str]
    ) -> Sequence[tuple[Any, ...]]:
        # Cancelling the query would wait for PostgreSQL to confirm it.
        overdue = asyncio.get_running_loop().call_later(LIMIT_SECONDS, hang_up, connection)
        try:
            cursor = await connection.execute(self._statement, parameters)
            return await cursor.fetchall()
        except BaseException:
            self._connection = None
            await connection.close()
            raise
        finally:
            overdue.cancel()

    async def _connect(self) -> Connection:
        with self._pause.connecting():
            connection = await psycopg.AsyncConnection.connect(settings.DATABASE_URL, **PARAMETERS)
        connection.prepare_threshold = 0
        connection.adapters.register_loader("text", BytesLoader)
        self._connection = connection
        return connection
