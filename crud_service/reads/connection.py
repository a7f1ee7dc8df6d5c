"""A connection to PostgreSQL for reads on the event loop."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

import psycopg
from django.conf import settings

from crud_service.postgresql import REQUESTS
from crud_service.stores.connection_pool import DENIED, SLOW_FAILURE_SECONDS, BytesLoader, Pause
from crud_service.stores.overdue import LIMIT_SECONDS, shut_down

T = TypeVar("T")

Row = tuple[Any, ...]
Connection = psycopg.AsyncConnection[Row]


class Statements(Protocol):
    """What executes statements, one after the other."""

    async def fetch(self, statement: str, parameters: Sequence[str]) -> Sequence[Row]:
        """Return a statement's rows, text as bytes; raises psycopg.Error."""
        ...

    async def close(self) -> None:
        """Close what is open."""


class ReadConnection:
    """Executes one statement after the other; create and use it on a single event loop.

    It connects on first use, and again once a connection is lost.
    """

    def __init__(self, url: str = "") -> None:
        """`url` leads to the server; without one, it is the primary."""
        self._url = url or settings.DATABASE_URL
        self._connection: Connection | None = None
        self._pause = Pause()
        self._is_free = asyncio.Lock()

    async def fetch(self, statement: str, parameters: Sequence[str]) -> Sequence[Row]:
        """Return a statement's rows, text as bytes; retry once if the connection was of no use.

        Raises psycopg.Error.
        """
        return await self.run(lambda connection: self.ask(connection, statement, parameters))

    async def run(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Return what `work`, which calls `ask`, returns; retry it once on a connection of no use.

        Raises psycopg.Error.
        """
        async with self._is_free:
            started = time.monotonic()
            connection = self._connection
            if connection is not None:
                try:
                    return await work(connection)
                except (psycopg.OperationalError, *DENIED):
                    is_slow = time.monotonic() - started > SLOW_FAILURE_SECONDS
                    if not connection.closed or is_slow:
                        raise
            return await work(await self._connect())

    async def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            await self._connection.close()

    async def ask(
        self,
        connection: Connection,
        statement: str,
        parameters: Sequence[str],
        limit_seconds: float = LIMIT_SECONDS,
    ) -> Sequence[Row]:
        """Execute a statement on the connection that `run` gave; an error closes it."""
        # Cancelling the query would wait for PostgreSQL to confirm it.
        overdue = asyncio.get_running_loop().call_later(limit_seconds, shut_down, connection)
        try:
            cursor = await connection.execute(statement, parameters)
            return await cursor.fetchall()
        except BaseException:
            self._connection = None
            await connection.close()
            raise
        finally:
            overdue.cancel()

    async def _connect(self) -> Connection:
        with self._pause.connecting():
            connection = await psycopg.AsyncConnection.connect(
                self._url, autocommit=True, **REQUESTS
            )
        connection.prepare_threshold = 0
        connection.adapters.register_loader("text", BytesLoader)
        self._connection = connection
        return connection
