"""Where the slots of a Redis or Valkey Cluster are: what both services ask, and read of the reply.

A shard is one slot (see `shards`). Its server is looked up whenever a connection is opened, as a
host name would be, so a slot that has moved and a replica that was promoted are found by
connecting again. A server that is no cluster has all shards.
"""

import random
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

ASK_SLOTS = ("CLUSTER", "SLOTS")
# What a server that is no cluster answers; any other error leaves it open.
_NO_CLUSTER = ("cluster support disabled", "unknown command")


class Node(NamedTuple):
    host: str
    port: int


class SlotNotServedError(Exception):
    """No server has the slot now: the cluster is being set up, or is down."""


class Cluster:
    """The nodes of a cluster that are known so far: the one that was configured, and its answers.

    Not thread-safe by locks, but a lost update costs nothing: every answer names all nodes.
    """

    def __init__(self, configured: Node) -> None:
        self.configured = configured
        self.is_cluster = False  # by the last answer
        self._nodes: list[Node] = []
        self._silent: set[Node] = set()

    def candidates(self) -> list[Node]:
        """Return the nodes to ask, in order; a random one first, as any may be unavailable.

        Those that did not answer the last time come last: each costs its caller a timeout.
        """
        nodes = list(self._nodes)
        random.shuffle(nodes)
        if self.configured not in nodes:
            nodes.append(self.configured)
        return sorted(nodes, key=self._silent.__contains__)

    def note_silence(self, node: Node) -> None:
        """Note that a node did not answer."""
        self._silent.add(node)

    def primary_of(self, slot: int, reply: object, asked: Node) -> Node:
        """Return the server of a slot, by what a node replied to ASK_SLOTS, or its error.

        Raises SlotNotServedError.
        """
        self._silent.discard(asked)
        if isinstance(reply, Exception):
            if any(text in str(reply) for text in _NO_CLUSTER):
                self.is_cluster = False
                return self.configured
            raise SlotNotServedError(str(reply)) from reply
        ranges = list(read_slots(reply, asked))
        self.is_cluster = True
        self._nodes = list({node for _, _, nodes in ranges for node in nodes}) or self._nodes
        self._silent &= {*self._nodes, self.configured}
        for first, last, nodes in ranges:
            if first <= slot <= last:
                return nodes[0]
        raise SlotNotServedError(f"no server has the slot {slot}")


class Range(NamedTuple):
    """A range of slots, and the nodes that have it: the primary, then its replicas."""

    first: int
    last: int
    nodes: list[Node]


def read_slots(reply: Any, asked: Node) -> Iterator[Range]:
    """Read the reply to ASK_SLOTS.

    A node without a host (none, or "?" for a host name that was not set) is on the one asked.
    """
    for first, last, *nodes in reply:
        yield Range(first, last, [read_node(node, asked) for node in nodes])


def read_node(node: Sequence[Any], asked: Node) -> Node:
    host, port = node[0], node[1]
    text = host.decode() if isinstance(host, bytes) else host or ""
    return Node(asked.host if text in {"", "?"} else text, port)
