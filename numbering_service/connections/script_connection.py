"""A Redis connection for one script: sends packed commands, passes replies to a callback in order.

redis-py's client spends more time on a call than Redis does: a pool, retries, a
task for each timeout, packing in Python, a stream with a buffer of its own. Here
we own the socket, and hiredis packs and parses.
"""

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import Any

from hiredis import ProtocolError, Reader, pack_command
from redis.exceptions import ConnectionError, TimeoutError

from numbering_service.redis_address import Address, Command
from numbering_service.redis_errors import read_error

CONNECT_SECONDS = 2

OnReply = Callable[[Any], None]
OnLost = Callable[[Exception], None]


class ScriptConnection(asyncio.Protocol):
    """One connection, from the handshake to its end. It never retries."""

    def __init__(self) -> None:
        self._reader = Reader(protocolError=ProtocolError, replyError=read_error)
        self._transport: asyncio.Transport | None = None
        self._on_reply: OnReply | None = None
        self._on_lost: OnLost | None = None

    def listen(self, on_reply: OnReply, on_lost: OnLost) -> None:
        """Pass each further reply to `on_reply`; call `on_lost` once when no more can come."""
        self._on_reply, self._on_lost = on_reply, on_lost

    def write(self, command: bytes) -> None:
        """Send a packed command; raises ConnectionError when the connection is closed."""
        if self._transport is None or self._transport.is_closing():
            raise ConnectionError("The connection to Redis is closed.")
        self._transport.write(command)

    def close(self) -> None:
        self._on_reply = self._on_lost = None
        if self._transport is not None:
            self._transport.abort()

    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands together; return their replies in order, errors among them."""
        replies: list[Any] = []
        complete: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def on_reply(reply: Any) -> None:
            replies.append(reply)
            if len(replies) == len(commands) and not complete.done():
                complete.set_result(None)

        def on_lost(error: Exception) -> None:
            if not complete.done():
                complete.set_exception(error)

        self.listen(on_reply, on_lost)
        self.write(pack(commands))
        await complete
        return replies

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # streams have one
        self._transport = transport
        keep_alive(transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
            while self._on_reply is not None and (reply := self._reader.gets()) is not False:
                self._on_reply(reply)
        except ProtocolError as error:
            self._end(ConnectionError(str(error)))

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(ConnectionError("Redis closed the connection."))

    def _end(self, error: Exception) -> None:
        on_lost = self._on_lost
        self.close()
        if on_lost is not None:
            on_lost(error)


async def open_connection(address: Address, script: str) -> ScriptConnection:
    """Connect, log in and load the script; raises redis-py's errors, or OSError.

    The host name is resolved each time: after a failover it points to another server.
    """
    connection: ScriptConnection | None = None
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            connection = await connect(address)
            await introduce(connection, address, script)
    except BaseException as error:
        if connection is not None:
            connection.close()
        if isinstance(error, asyncio.TimeoutError):
            raise TimeoutError("Redis could not be reached in time.") from error
        raise
    return connection


async def connect(address: Address) -> ScriptConnection:
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(
        ScriptConnection, address.host, address.port, ssl=address.tls
    )
    return connection


async def introduce(connection: ScriptConnection, address: Address, script: str) -> None:
    """Log in and load the script, in one round trip; raises the first error."""
    commands = [*address.handshake(), ("SCRIPT", "LOAD", script)]
    for command, reply in zip(commands, await connection.ask(commands), strict=True):
        # The client name only helps operators; an account may lack the permission to set it.
        if isinstance(reply, Exception) and command[0] != "CLIENT":
            raise reply


def keep_alive(transport: asyncio.Transport) -> None:
    """Turn on TCP keepalive, so that the system notices a server that vanished silently."""
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def pack(commands: Sequence[Command]) -> bytes:
    """Pack commands into bytes for the wire, in their order."""
    return b"".join(pack_command(command) for command in commands)  # type: ignore[arg-type] # its stub allows one item
