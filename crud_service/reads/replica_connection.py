"""Reads of the event loop on the replica, by the rules of `stores.replica`."""

import asyncio
from collections.abc import Sequence

from django.conf import settings
from psycopg.errors import QueryCanceled

from crud_service.reads.connection import Connection, ReadConnection, Row, Statements
from crud_service.stores.connection_pool import DENIED, FAILURES
from crud_service.stores.database import log_failure
from crud_service.stores.replica import (
    HAS_REPLAYED,
    LIMIT_SECONDS,
    PAUSES,
    POSITION,
    READS,
    BehindError,
    replica,
)


def connect_reads() -> Statements:
    """Return a connection for reads that may be the replica's."""
    return ReplicaConnection() if settings.DATABASE_READ_URL else ReadConnection()


class ReplicaConnection:
    """A connection to the replica and one to the primary; use it on a single event loop."""

    def __init__(self) -> None:
        self._primary = ReadConnection()
        self._replica = ReadConnection(settings.DATABASE_READ_URL)

    async def fetch(self, statement: str, parameters: Sequence[str]) -> Sequence[Row]:
        """Return a statement's rows, which have whatever was answered before; text as bytes.

        Raises psycopg.Error.
        """
        if replica().is_usable:
            position = await self._position()
            try:
                rows = await self._fetch_behind(position, statement, parameters)
            except QueryCanceled:
                # It takes too long, and would on the primary.
                raise
            except DENIED as error:
                log_failure(error)  # the replica keeps the other reads
            except FAILURES as error:
                replica().give_up(error)
            else:
                READS.labels("replica").inc()
                return rows
        READS.labels("primary").inc()
        return await self._primary.fetch(statement, parameters)

    async def close(self) -> None:
        """Close the connections."""
        await self._primary.close()
        await self._replica.close()

    async def _position(self) -> bytes | None:
        [(position,)] = await self._primary.fetch(POSITION, ())
        found: bytes | None = position
        return found

    async def _fetch_behind(
        self, position: bytes | None, statement: str, parameters: Sequence[str]
    ) -> Sequence[Row]:
        """Execute a statement on the replica behind a position; raise BehindError if it lags."""
        if position is None:
            raise BehindError
        behind = [position.decode()]
        ask = self._replica.ask

        async def caught_up(connection: Connection) -> Sequence[Row]:
            for pause in PAUSES:
                await asyncio.sleep(pause)
                [(is_there,)] = await ask(connection, HAS_REPLAYED, behind, LIMIT_SECONDS)
                if is_there:
                    return await ask(connection, statement, parameters)
            raise BehindError

        # Another connection may lead to another replica, so it is looked at anew.
        return await self._replica.run(caught_up)
