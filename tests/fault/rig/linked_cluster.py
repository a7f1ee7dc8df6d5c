"""A cluster whose servers reach each other through links, so that one can be cut off.

Each server announces its links, and connects to others from an address of its own, by which their
links know it. Clients connect from another address, and reach a server that is cut off.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import redis

from contract.shards import Shard
from local_stack.ports import LOOPBACK
from tests.fault.rig.valkey_cluster import READY_SECONDS, ValkeyCluster, command
from tests.integration.numbering.surroundings import Valkey
from tests.links import Link, Links
from tests.polling import wait_until

# The links are in the process of the tests, which is held up now and then: a cluster whose servers
# are silent for this long all at once elects new primaries.
LINKED_TIMEOUT_MS = 3000
# The states of a slot's move that is no longer under way.
ENDED = {b"success", b"failed", b"canceled"}


class LinksOf(NamedTuple):
    """The links to a server: of clients and replicas, and of the other servers of the cluster."""

    clients: Link
    bus: Link


class LinkedCluster(ValkeyCluster):
    """Three primaries with a replica each."""

    def __init__(self, directory: Path, links: Links) -> None:
        self._links = links
        self._links_of: dict[Valkey, LinksOf] = {}
        self._cut_off: Valkey | None = None
        settings = {
            "cluster-node-timeout": str(LINKED_TIMEOUT_MS),
            # How soon a replica connects again that hears nothing through a silent link.
            "repl-timeout": "10",
            "repl-ping-replica-period": "1",
        }
        super().__init__(directory, replicas=3, **settings)

    def _server(self, number: int) -> Valkey:
        server = super()._server(number)
        bus_port = int(server.settings["cluster-port"])
        own = LinksOf(self._links.add(lambda: server.port), self._links.add(lambda: bus_port))
        self._links_of[server] = own
        server.settings |= {
            "bind-source-addr": f"127.0.1.{number + 1}",
            "cluster-announce-ip": LOOPBACK,
            "cluster-announce-port": str(own.clients.port),
            "cluster-announce-bus-port": str(own.bus.port),
        }
        return server

    def cut_off(self, lost: Valkey) -> None:
        """Have no other server reach this one, nor this one any other; clients still do."""
        self._cut_off = lost
        source = source_of(lost)
        others = [source_of(server) for server in self.servers if server is not lost]
        self._links_of[lost].bus.silence()
        self._links_of[lost].clients.silence_from(others)
        for link in self._links_to_all_but(lost):
            link.silence_from([source])

    def heal(self, lost: Valkey) -> None:
        """Have it reach the others again.

        The bus comes last: a server that hears of its successor connects there at once, and waits
        for an answer that a link which is still silent never lets through.
        """
        self._cut_off = None
        links = [*self._links_of.values()]
        for link in (*(each.clients for each in links), *(each.bus for each in links)):
            link.heal()

    def is_whole(self) -> bool:
        """Whether also each primary has a replica: one that comes back may follow any of them."""
        return super().is_whole() and all(self.role(owner)[2] for owner in self.owners())

    def asked(self) -> Sequence[Valkey]:
        """Leave out a server that is cut off: it knows of no successor."""
        return [server for server in self.servers if server is not self._cut_off]

    def wait_for_successor(self, lost: Valkey) -> None:
        """Wait until the others know of another server for every slot of a lost primary."""
        wait_until(lambda: bool(owners := self.owners()) and lost not in owners, READY_SECONDS)

    def owners(self) -> list[Valkey]:
        """Return the servers that have slots, by any that answers; [] if none does."""
        for server in self.asked():
            with suppress(redis.RedisError):
                nodes = command(server, "CLUSTER NODES")
                return [self.server_at(at) for at, node in nodes.items() if node["slots"]]
        return []

    def begin_to_move(self, shard: Shard, target: Valkey) -> None:
        """Have a shard's slot moved as a whole, which the servers do by themselves.

        Nothing has moved if either of them is lost before it is done.
        """
        slots = ("SLOTSRANGE", shard.slot, shard.slot, "NODE", self.id_of(target))
        command(self.server_of(shard), "CLUSTER", "MIGRATESLOTS", *slots)

    def wait_until_settled(self, over: threading.Event) -> None:
        """Wait until no slot is on its way and all servers know of it, or until an event."""
        while not self._is_settled() and not over.wait(0.05):
            pass

    def _is_settled(self) -> bool:
        seen = set()
        for server in self.asked():
            with suppress(redis.RedisError):  # one that is lost has no say
                if is_moving_a_slot(server):
                    return False
                nodes: Any = command(server, "CLUSTER NODES")
                seen.add(frozenset((node["node_id"], node["epoch"]) for node in nodes.values()))
        return len(seen) == 1

    def end_moves(self) -> None:
        """Cancel the moves that are not done yet."""
        wait_until(self._cancels_moves, READY_SECONDS)

    def _cancels_moves(self) -> bool:
        """Return whether every server was asked; not yet if a connection turns out to be reset."""
        with suppress(redis.ConnectionError):
            for server in self.servers:
                with suppress(redis.ResponseError):  # none is under way
                    command(server, "CLUSTER", "CANCELSLOTMIGRATIONS")
            return True
        return False

    def _links_to_all_but(self, lost: Valkey) -> Iterator[Link]:
        for server, links in self._links_of.items():
            if server is not lost:
                yield from links


def is_moving_a_slot(server: Valkey) -> bool:
    jobs = [
        dict(zip(job[::2], job[1::2], strict=True))
        for job in command(server, "CLUSTER", "GETSLOTMIGRATIONS")
    ]
    exports = [job[b"state"] for job in jobs if job[b"operation"] == b"EXPORT"]
    return not ENDED.issuperset(exports)


def source_of(server: Valkey) -> str:
    return server.settings["bind-source-addr"]
