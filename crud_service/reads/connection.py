"""A connection to PostgreSQL for reads on the event loop."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import psycopg
from django.conf import settings

from crud_service.postgresql import REQUESTS
from crud_service.stores.connection_pool import SLOW_FAILURE_SECONDS, BytesLoader, Pause
from crud_service.stores.overdue import LIMIT_SECONDS, hang_up

Row = tuple[Any, ...]
Connection = psycopg.AsyncConnection[Row]


class ReadConnection:
    """Executes one statement after the other; create and use it on a single event loop.

    It connects on first use, and again once a connection is lost.
    """

    def __init__(self) -> None:
        self._connection: Connection | None = None
        self._pause = Pause()
        self._is_free = asyncio.Lock()

    async def fetch(self, statement: str, parameters: Sequence[str]) -> Sequence[Row]:
        """Return a statement's rows, text as bytes; retry once if the connection was dead.

        Raises psycopg.Error.
        """
        async with self._is_free:
            started = time.monotonic()
            if self._connection is not None:
                try:
                    return await self._ask(self._connection, statement, parameters)
                except psycopg.OperationalError:
                    if time.monotonic() - started > SLOW_FAILURE_SECONDS:
                        raise
            return await self._ask(await self._connect(), statement, parameters)

    async def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            await self._connection.close()

    async def _ask(
        self, connection: Connection, statement: str, parameters: Sequence[str]
    ) -> Sequence[Row]:
        # Cancelling the query would wait for PostgreSQL to confirm it.
        overdue = asyncio.get_running_loop().call_later(LIMIT_SECONDS, hang_up, connection)
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
                settings.DATABASE_URL, autocommit=True, **REQUESTS
            )
        connection.prepare_threshold = 0
        connection.adapters.register_loader("text", BytesLoader)
        self._connection = connection
        return connection
