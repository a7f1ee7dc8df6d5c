"""Connections of redis-py to the server that has a shard, in a cluster or not.

Each connection looks its server up when it is opened. A server that no longer has the shard
answers MOVED or ASK, upon which the connection is closed and opened again, as after a fail-over.
"""

import asyncio
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import redis.asyncio.connection
from redis.backoff import NoBackoff
from redis.connection import Connection, SSLConnection, parse_url
from redis.exceptions import ConnectionError, RedisError, ResponseError
from redis.retry import Retry

from contract.cluster import ASK_SLOTS, Cluster, Node, SlotNotServedError
from contract.shards import Shard

ASK_SECONDS = 0.5
# Options of a URL that are for redis-py's pools, not for a connection.
OF_A_POOL = ("max_connections", "timeout")

Locate = Callable[[], Node]


class ShardServers:
    """Looks up the server of a shard, by the URL of one server of the cluster."""

    def __init__(self, redis_url: str) -> None:
        options: dict[str, Any] = dict(parse_url(redis_url))  # type: ignore[no-untyped-call] # untyped in redis-py
        self.connection_class: type[Connection] = options.pop("connection_class", Connection)
        self._cluster = Cluster(
            Node(options.pop("host", "localhost"), int(options.pop("port", 6379)))
        )
        for name in OF_A_POOL:
            options.pop(name, None)
        # A URL may have timeouts of its own, which are for commands.
        self._options = options | {
            "socket_timeout": ASK_SECONDS,
            "socket_connect_timeout": ASK_SECONDS,
            "retry": Retry(NoBackoff(), 0),
        }

    def is_cluster(self) -> bool:
        """Return whether the configured server is certainly part of a cluster.

        Raises redis-py's errors.
        """
        return not isinstance(self._ask(self._cluster.configured), Exception)

    def find(self, slot: int) -> Node:
        """Return the primary that has a slot; raises ConnectionError if none is known."""
        reason = ""
        for node in self._cluster.candidates():
            try:
                return self._cluster.primary_of(slot, self._ask(node), node)
            except SlotNotServedError as error:
                reason = f"{node.host}:{node.port}: {error}"
            except (RedisError, OSError) as error:
                self._cluster.note_silence(node)
                reason = f"{node.host}:{node.port}: {error}"
        raise ConnectionError(f"No server of a shard is known: {reason}")

    def _ask(self, node: Node) -> object:
        connection = self.connection_class(host=node.host, port=node.port, **self._options)
        try:
            connection.connect()  # type: ignore[no-untyped-call] # untyped in redis-py
            connection.send_command(*ASK_SLOTS)  # type: ignore[no-untyped-call] # untyped in redis-py
            return connection.read_response()
        except ResponseError as error:
            return error
        finally:
            connection.disconnect()  # type: ignore[no-untyped-call] # untyped in redis-py


class ShardConnection(Connection):
    """A connection that looks its server up."""

    def __init__(self, *, locate: Locate, **options: Any) -> None:
        self._locate = locate
        super().__init__(**options)  # type: ignore[no-untyped-call] # untyped in redis-py

    def connect_check_health(
        self, check_health: bool = True, retry_socket_connect: bool = True
    ) -> None:
        if not self.is_connected:
            self.host, self.port = self._locate()
        super().connect_check_health(check_health, retry_socket_connect)


class ShardSSLConnection(ShardConnection, SSLConnection):
    """The same over TLS."""


class AsyncShardConnection(redis.asyncio.connection.Connection):
    """The same on an event loop, which does not wait for the look-up."""

    def __init__(self, *, locate: Locate, **options: Any) -> None:
        self._locate = locate
        super().__init__(**options)

    async def connect_check_health(
        self, check_health: bool = True, retry_socket_connect: bool = True
    ) -> None:
        if not self.is_connected:
            self.host, self.port = await asyncio.to_thread(self._locate)
        await super().connect_check_health(check_health, retry_socket_connect)


class AsyncShardSSLConnection(AsyncShardConnection, redis.asyncio.connection.SSLConnection):
    """The same over TLS."""


@cache
def servers_of(redis_url: str) -> ShardServers:
    return ShardServers(redis_url)


def look_up(redis_url: str, shard: Shard) -> dict[str, Any]:
    """Return redis-py's options for a client that looks up the server of a shard.

    There is nothing to look up with a single shard.
    """
    if not shard.tag:
        return {}
    servers = servers_of(redis_url)
    is_tls = issubclass(servers.connection_class, SSLConnection)
    return {
        "connection_class": ShardSSLConnection if is_tls else ShardConnection,
        "locate": partial(servers.find, shard.slot),
    }


def look_up_async(redis_url: str, shard: Shard) -> dict[str, Any]:
    """Return the same for a client on an event loop."""
    options = look_up(redis_url, shard)
    if options:
        is_tls = options["connection_class"] is ShardSSLConnection
        options["connection_class"] = AsyncShardSSLConnection if is_tls else AsyncShardConnection
    return options
