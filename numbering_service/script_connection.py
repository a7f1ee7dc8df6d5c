"""A connection to Redis that calls one script, with nothing between us and the socket.

redis-py's client spends more time on a call than Redis does: a pool, retries,
a task for each time-out, packing in Python, a stream with a buffer of its own.
This has redis-py connect (address, password, TLS, handshake), then listens to
the socket itself.
"""

import asyncio
from collections.abc import Sequence
from hashlib import sha1
from typing import Any

from hiredis import ProtocolError, Reader, pack_command
from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    BusyLoadingError,
    ConnectionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,
    TryAgainError,
)

CALL_SECONDS = 2
CONNECT_SECONDS = 1

# The errors that callers tell apart, by the word with which Redis begins them.
ERRORS: dict[str, type[RedisError]] = {
    "LOADING": BusyLoadingError,
    "NOSCRIPT": NoScriptError,
    "OOM": OutOfMemoryError,
    "READONLY": ReadOnlyError,
    "TRYAGAIN": TryAgainError,
}


def read_error(text: str) -> RedisError:
    """An error of Redis as redis-py would raise it."""
    word, _, rest = text.partition(" ")
    return ERRORS.get(word, ResponseError)(rest if word == "ERR" else text)


class Replies(asyncio.Protocol):
    """What Redis sends on a connection, on which one reply is waited for at a time."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader = Reader(protocolError=ProtocolError, replyError=read_error)
        self._waiting: asyncio.Future[Any] | None = None
        self.is_lost = False

    async def next(self) -> Any:
        """The next reply; raises the error that it is, or why there is none."""
        self._waiting = self._loop.create_future()
        timer = self._loop.call_later(CALL_SECONDS, self._fail, TimeoutError("no answer in time"))
        try:
            return await self._waiting
        finally:
            timer.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
            reply = self._reader.gets()
        except ProtocolError as error:
            self._fail(ConnectionError(str(error)))
            return
        if reply is False:  # the rest of it is on its way
            return
        if self._waiting is None or self._waiting.done():
            self.is_lost = True  # an answer that nobody waits for must not become another's
        elif isinstance(reply, Exception):
            self._waiting.set_exception(reply)
        else:
            self._waiting.set_result(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        self._fail(ConnectionError("Redis closed the connection"))

    def _fail(self, error: Exception) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(error)


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
        self._link: tuple[asyncio.WriteTransport, Replies] | None = None

    async def call(self, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """Run the script; raises redis-py's errors, TimeoutError after two seconds."""
        try:
            return await self._execute("EVALSHA", self._sha, len(keys), *keys, *arguments)
        except NoScriptError:  # Redis was restarted; it has not run anything.
            return await self._execute("EVAL", self._source, len(keys), *keys, *arguments)

    async def _execute(self, *command: str | int) -> Any:
        try:
            if self._link is None or self._link[1].is_lost:
                self._link = await self._connect()
            transport, replies = self._link
            transport.write(pack_command(command))  # type: ignore[arg-type] # its stub allows one item
            return await replies.next()
        except ResponseError:
            raise
        except BaseException as error:
            # An answer may still be on its way; nobody must take it for the next call's.
            await self.aclose()
            if isinstance(error, asyncio.TimeoutError):
                raise TimeoutError("Redis could not be reached in time") from error
            if isinstance(error, RuntimeError):  # uvloop's word for a closed connection
                raise ConnectionError(str(error)) from error
            raise

    async def _connect(self) -> tuple[asyncio.WriteTransport, Replies]:
        await self.aclose()
        async with asyncio.timeout(CALL_SECONDS):
            await self._connection.connect()  # type: ignore[no-untyped-call]
        # Nothing public leads from redis-py's connection to its socket.
        writer = self._connection._writer
        if writer is None:
            raise ConnectionError("Redis closed the connection")
        transport = writer.transport
        replies = Replies()
        transport.set_protocol(replies)
        return transport, replies

    async def aclose(self) -> None:
        """Close the connection."""
        self._link = None
        # Not waited for: redis-py's own reader of the socket would have to be told.
        await self._connection.disconnect(nowait=True)
