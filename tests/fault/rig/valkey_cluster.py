"""A cluster of real servers: primaries that share the slots, and a replica for each.

They are Valkey's, or those of another program, such as Redis.
"""

import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import redis

from contract.replicas import PROBE
from contract.shards import Shard
from local_stack.ports import LOOPBACK, choose_port
from local_stack.stores.valkey_cluster import (
    Node,
    count_in_step,
    form_cluster,
    knows_all,
    node_settings,
)
from tests.integration.numbering.surroundings import Valkey
from tests.polling import wait_until

# After this long without an answer a server counts as failed, and its replica is elected.
NODE_TIMEOUT_MS = 1000
READY_SECONDS = 60


class ValkeyCluster:
    """Servers on loopback ports; the first `primaries` of them begin as primaries."""

    def __init__(
        self,
        directory: Path,
        primaries: int = 3,
        replicas: int = 0,
        program: str = "",
        **settings: str,
    ) -> None:
        self.primaries = primaries
        self._directory, self._program, self._settings = directory, program, settings
        self.servers = [self._server(number) for number in range(primaries + replicas)]

    def _server(self, number: int) -> Valkey:
        directory = self._directory / f"node{number}"
        directory.mkdir(parents=True)
        settings = node_settings(choose_port(), NODE_TIMEOUT_MS) | self._settings
        return Valkey(directory, self._program, **settings)

    @property
    def url(self) -> str:
        return self.servers[0].url

    def start(self) -> None:
        """Start all servers, and wait until each knows which slots the others have."""
        for server in self.servers:
            server.start()
        form_cluster(self.nodes, self.primaries)
        wait_until(self.is_ready, READY_SECONDS)

    @property
    def nodes(self) -> list[Node]:
        return [Node(server.directory.name, *announced_ports(server)) for server in self.servers]

    @property
    def acknowledges(self) -> bool:
        """Whether replicas say what they have on disk: Valkey's do, and Redis's from 7.2 on."""
        if len(self.servers) == self.primaries:
            return False
        try:
            command(self.servers[0], *PROBE)
        except redis.ResponseError:
            return False
        return True

    def lose(self, primary: Valkey) -> None:
        """kill -9 a primary, if what was answered is on its replica.

        Without acknowledgements that is so only if it is asked to end: then it waits for it.
        """
        assert primary.process is not None
        primary.process.end(signal.SIGKILL if self.acknowledges else signal.SIGTERM)

    def end(self) -> None:
        for server in self.servers:
            server.client.close()
            if server.process is not None:
                server.kill()

    def is_ready(self) -> bool:
        """Whether the cluster is whole; not yet if a connection turns out to be reset."""
        with suppress(redis.ConnectionError):
            return self.is_whole()
        return False

    def is_whole(self) -> bool:
        """Whether every server sees the whole cluster, and every replica is in step."""
        clients = [server.client for server in self.servers]
        sees_all = all(knows_all(client, len(clients)) for client in clients)
        return sees_all and count_in_step(clients) == len(clients) - self.primaries

    @staticmethod
    def role(server: Valkey) -> Any:
        return command(server, "ROLE")

    @staticmethod
    def id_of(server: Valkey) -> str:
        raw = command(server, "CLUSTER", "MYID")
        return raw.decode() if isinstance(raw, bytes) else str(raw)

    def server_of(self, shard: Shard) -> Valkey:
        """Return the server that has a shard now, by any that answers."""
        for server in self.asked():
            try:
                nodes = command(server, "CLUSTER NODES")
            except redis.RedisError:
                continue
            for address, node in nodes.items():
                for first, *last in node["slots"]:
                    if int(first) <= shard.slot <= int(last[0] if last else first):
                        return self.server_at(address)
        raise AssertionError("no server answers")

    def asked(self) -> Sequence[Valkey]:
        """Return the servers that may know who has a shard."""
        return self.servers

    def server_at(self, address: str) -> Valkey:
        port = int(address.partition("@")[0].rpartition(":")[2])
        return next(server for server in self.servers if announced_ports(server)[0] == port)

    def move(self, shard: Shard, target: Valkey, *, pause: Any = lambda: None) -> None:
        """Move a shard's slot, key by key, as the cluster's tools do; `pause` comes in between."""
        source, slot = self.server_of(shard), shard.slot
        for server, state, other in (
            (target, "IMPORTING", source),
            (source, "MIGRATING", target),
        ):
            command(server, "CLUSTER", "SETSLOT", slot, state, self.id_of(other))
        pause()
        while names := command(source, "CLUSTER", "GETKEYSINSLOT", slot, 10):
            port, _ = announced_ports(target)
            migrate = ("MIGRATE", LOOPBACK, port, "", 0, 5000, "KEYS", *names)
            command(source, *migrate)
            pause()
        for server in (target, source, *self.servers):
            if self.role(server)[0] == b"master":
                command(server, "CLUSTER", "SETSLOT", slot, "NODE", self.id_of(target))


def announced_ports(server: Valkey) -> tuple[int, int]:
    """Return where clients and where other servers connect, which may be links."""
    own = server.settings
    return (
        int(own.get("cluster-announce-port", server.port)),
        int(own.get("cluster-announce-bus-port", own["cluster-port"])),
    )


def command(server: Valkey, *words: object) -> Any:
    """Send a command to a server, and return its reply."""
    return server.client.execute_command(*words)  # type: ignore[no-untyped-call] # untyped in redis-py
