"""A connection to Redis that calls one script, with nothing between us and the socket.

redis-py's client spends more time on a call than Redis does: a pool, retries,
a task for each time-out, packing in Python. This keeps its connection (address,
password, TLS, handshake, errors) and leaves the rest out.
"""

import asyncio
from collections.abc import Sequence
from hashlib import sha1
from typing import Any

from hiredis import pack_command
from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, NoScriptError, ResponseError, TimeoutError

CALL_SECONDS = 2
CONNECT_SECONDS = 1


class ScriptConnection:
    """Calls a script; one call at a time, and none is ever repeated here."""

    def __init__(self, redis_url: str, source: str) -> None:
        self._source = source
        # The name by which Redis knows a script; not a matter of security.
        self._sha = sha1(source.encode(), usedforsecurity=False).hexdigest()
        pool = ConnectionPool.from_url(
            redis_url,
            protocol=2,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=None,
            socket_connect_timeout=CONNECT_SECONDS,
            socket_keepalive=True,
        )
        # redis-py leaves these untyped.
        self._connection: AbstractConnection = pool.make_connection()  # type: ignore[no-untyped-call]

    async def call(self, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """Run the script; raises redis-py's errors, TimeoutError after two seconds."""
        try:
            return await self._execute("EVALSHA", self._sha, len(keys), *keys, *arguments)
        except NoScriptError:  # Redis was restarted; it has not run anything.
            return await self._execute("EVAL", self._source, len(keys), *keys, *arguments)

    async def _execute(self, *command: str | int) -> Any:
        connection = self._connection
        try:
            async with asyncio.timeout(CALL_SECONDS):
                await connection.connect()  # type: ignore[no-untyped-call]
                packed = pack_command(command)  # type: ignore[arg-type] # its stub allows one item
                await connection.send_packed_command(packed, check_health=False)
                return await connection.read_response()
        except ResponseError:
            raise
        except BaseException as error:
            # An answer may still be on its way; nobody must take it for the next call's.
            await connection.disconnect(nowait=True)
            if isinstance(error, asyncio.TimeoutError):
                raise TimeoutError("Redis did not answer in time") from error
            if isinstance(error, RuntimeError):  # uvloop's word for a closed connection
                raise ConnectionError(str(error)) from error
            raise

    async def aclose(self) -> None:
        """Close the connection."""
        await self._connection.disconnect()
