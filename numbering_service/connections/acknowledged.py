"""A connection that withholds replies until enough replicas have the writes on disk."""

import asyncio
from typing import Any

from redis.exceptions import ConnectionError

from contract.replicas import PROBE, acknowledgement, is_on_disk, is_received, shortfall
from numbering_service.connections.script_connection import (
    CONNECT_SECONDS,
    OnLost,
    OnReply,
    ScriptConnection,
    open_connection,
    pack,
)
from numbering_service.redis_address import Address
from numbering_service.redis_errors import RETRYABLE

# Each of the two commands: together they take less than a call may.
WAIT_MS = 800


class NotAcknowledgedError(ConnectionError):
    """Too few replicas have a write in time. It is there, but may be lost with the primary."""


class AcknowledgedConnection:
    """Sends each call with the commands that wait for it; passes its reply on if they succeed.

    Like a `ScriptConnection`, it never retries. A call that is not acknowledged loses the
    connection: the caller resends it, maybe to another primary, under the batch's id.
    """

    def __init__(self, connection: ScriptConnection, replicas: int) -> None:
        self._connection = connection
        self._replicas = replicas
        self._wait = pack(acknowledgement(replicas, WAIT_MS))
        self._reply: Any = None
        self._position = 0

    def listen(self, on_reply: OnReply, on_lost: OnLost) -> None:
        """Pass each acknowledged reply to `on_reply`; call `on_lost` when no more can come."""
        self._on_reply, self._on_lost = on_reply, on_lost
        self._connection.listen(self._take, on_lost)

    def write(self, command: bytes) -> None:
        """Send a packed call; raises ConnectionError when the connection is closed."""
        self._connection.write(command + self._wait)

    def close(self) -> None:
        self._connection.close()

    def _take(self, reply: Any) -> None:
        """Take one of the three replies to a call: the script's, then WAIT's and WAITAOF's."""
        position, self._position = self._position, (self._position + 1) % 3
        if position == 0:
            self._reply = reply
            if isinstance(reply, RETRYABLE):
                self._on_lost(reply)
        elif position == 1:
            if not is_received(reply, self._replicas):
                self._on_lost(NotAcknowledgedError(shortfall(reply, self._replicas)))
        elif is_on_disk(reply, self._replicas):
            self._on_reply(self._reply)
        else:
            self._on_lost(NotAcknowledgedError(shortfall(reply, self._replicas)))


async def open_acknowledged(address: Address, script: str, replicas: int) -> AcknowledgedConnection:
    """Open a connection to a server that can acknowledge.

    Args:
        address: the primary's.
        script: the source of `numbers.lua`.
        replicas: how many have to acknowledge a write.

    Returns:
        The connection. Raises NotAcknowledgedError for a server that can't, and what
        `open_connection` raises.
    """
    connection = await open_connection(address, script)
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            [reply] = await connection.ask([PROBE])
        if isinstance(reply, Exception):
            raise NotAcknowledgedError(shortfall(reply, replicas))
    except BaseException:
        connection.close()
        raise
    return AcknowledgedConnection(connection, replicas)
