"""Finds the server that has a shard, in a cluster or not."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.connection import Connection, SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, RedisError, ResponseError

from contract.cluster import ASK_SLOTS, Cluster, Node, SlotNotServedError
from contract.shards import ONLY, Shard
from numbering_service.redis_address import Address
from numbering_service.redis_client import Client

ASK_SECONDS = 1.0
# Options of a URL that are for redis-py's pools, not for a connection.
OF_A_POOL = ("max_connections", "timeout")

Locate = Callable[[], Awaitable[Address]]


class SpreadError(Exception):
    """Shards are on servers of a cluster."""


class ShardServers:
    """Looks up the server of a shard for each connection that is opened to it."""

    def __init__(self, redis_url: str, shards: int = 1) -> None:
        """With a single shard there is one server and nothing to look up."""
        self._url = redis_url
        self._address = Address.from_url(redis_url)
        self._is_looked_up = shards > 1
        options: dict[str, Any] = dict(parse_url(redis_url))
        self._connection_class: type[Connection] = options.pop("connection_class", Connection)
        for name in ("host", "port", *OF_A_POOL):
            options.pop(name, None)
        # A URL may have timeouts of its own, which are for commands.
        self._options = options | {
            "socket_timeout": ASK_SECONDS,
            "socket_connect_timeout": ASK_SECONDS,
            "retry": Retry(NoBackoff(), 0),
        }
        self._cluster = Cluster(Node(self._address.host, self._address.port))

    def __str__(self) -> str:
        """The configured address for a log, without credentials."""
        return str(self._address)

    def client(self, shard: Shard, **options: Any) -> Redis:
        """Return redis-py's client for the keys of a shard."""
        if self._is_looked_up:
            is_tls = issubclass(self._connection_class, SSLConnection)
            options["connection_class"] = ShardSSLConnection if is_tls else ShardConnection
            options["locate"] = partial(self.address_of, shard)
        return Client.from_url(self._url, **options)

    async def address_of(self, shard: Shard) -> Address:
        """Return the address of a shard's server; raises ConnectionError if none is known."""
        if not self._is_looked_up:
            return self._address
        node = await self._find(shard.slot)
        return replace(self._address, host=node.host, port=node.port)

    async def address_of_all(self) -> Address:
        """Return the address of the one server that has all shards.

        Raises SpreadError if it is in a cluster, even if that has no other server: none of them
        runs a script on keys of several slots.
        """
        try:
            address = await self.address_of(ONLY)
        except ConnectionError as error:
            if self._cluster.is_cluster:
                raise SpreadError(str(self)) from error
            raise
        if self._cluster.is_cluster:
            raise SpreadError(str(self))
        return address

    async def _find(self, slot: int) -> Node:
        reason = ""
        for node in self._cluster.candidates():
            try:
                return self._cluster.primary_of(slot, await self._ask(node), node)
            except SlotNotServedError as error:
                reason = f"{node.host}:{node.port}: {error}"
            except (RedisError, OSError) as error:
                self._cluster.note_silence(node)
                reason = f"{node.host}:{node.port}: {error}"
        raise ConnectionError(f"No server of a shard is known: {reason}")

    async def _ask(self, node: Node) -> object:
        connection = self._connection_class(host=node.host, port=node.port, **self._options)
        try:
            await connection.connect()  # type: ignore[no-untyped-call] # untyped in redis-py
            await connection.send_command(*ASK_SLOTS)
            return await connection.read_response()
        except ResponseError as error:
            return error
        finally:
            await connection.disconnect(nowait=True)


class ShardConnection(Connection):
    """A connection of redis-py that looks its server up each time it connects."""

    def __init__(self, *, locate: Locate, **options: Any) -> None:
        self._locate = locate
        super().__init__(**options)

    async def connect_check_health(
        self, check_health: bool = True, retry_socket_connect: bool = True
    ) -> None:
        if not self.is_connected:
            address = await self._locate()
            self.host, self.port = address.host, address.port
        await super().connect_check_health(check_health, retry_socket_connect)


class ShardSSLConnection(ShardConnection, SSLConnection):
    """The same over TLS."""
