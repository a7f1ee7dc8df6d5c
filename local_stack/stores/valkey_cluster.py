"""A cluster of Valkey servers that run on this machine, and what they know of each other.

The first servers become primaries, which share the slots evenly; the others follow one each. Later
the cluster decides: a replica takes the place of a primary that is lost.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import redis

from contract.shards import SLOTS
from local_stack.console import wait_for
from local_stack.failure import StackError
from local_stack.ports import LOOPBACK
from local_stack.stores.valkey import redis_url

READY_SECONDS = 60
ANSWER_SECONDS = 5


class Node(NamedTuple):
    """A server of a cluster: its port for clients, and that for the other servers."""

    name: str
    port: int
    bus_port: int


class Member(NamedTuple):
    """What one server knows of another.

    `follows` is the primary's id if it is a replica; every election has a higher `epoch`.
    """

    id: str
    port: int
    follows: str
    is_failed: bool
    epoch: int
    slots: tuple[tuple[int, int], ...]


def node_settings(bus_port: int, timeout_ms: int) -> dict[str, str]:
    """Return what makes a server a part of a cluster.

    Args:
        bus_port: for the other servers.
        timeout_ms: a server that does not answer within this time is considered failed, and its
            replica elected.
    """
    return {
        "cluster-enabled": "yes",
        "cluster-port": str(bus_port),
        "cluster-node-timeout": str(timeout_ms),
        # A replica waits for nobody else who would need a copy at the same time.
        "repl-diskless-sync-delay": "0",
    }


def form_cluster(nodes: Sequence[Node], primaries: int) -> None:
    """Make a cluster of servers that answer, or have those of an earlier run find each other.

    Whatever was done before is left as it is, so an interrupted start is continued by the next.
    Raises StackError when they don't agree in time.

    Args:
        nodes: the servers, on ports that may have changed.
        primaries: how many of them share the slots, at first the first ones.
    """
    try:
        with ExitStack() as opened:
            clients = [opened.enter_context(client_of(node, ANSWER_SECONDS)) for node in nodes]
            join(clients, nodes, primaries)
    except redis.RedisError as error:
        raise StackError(f"the servers of Valkey do not form a cluster: {error}") from None


def join(clients: Sequence[redis.Redis], nodes: Sequence[Node], primaries: int) -> None:
    for epoch, client in enumerate(clients, 1):
        begin(client, epoch)
    give_slots(clients, primaries)
    wait_for(lambda: have_met(clients, nodes), "cluster", READY_SECONDS)
    give_replicas(clients)
    replicas = len(nodes) - primaries
    wait_for(lambda: count_in_step(clients) == replicas, "replicas", READY_SECONDS)


def client_of(node: Node, seconds: float) -> redis.Redis:
    """Return a client of one server, with a timeout in seconds."""
    timeouts = {"socket_timeout": seconds, "socket_connect_timeout": seconds}
    return redis.Redis.from_url(redis_url(node.port), protocol=2, retry=None, **timeouts)


def begin(client: redis.Redis, epoch: int) -> None:
    """Give a server that knows no other an epoch of its own, so that none has to be agreed on."""
    info = cluster_info(client)
    if info["cluster_known_nodes"] == "1" and info["cluster_my_epoch"] == "0":
        command(client, "CLUSTER", "SET-CONFIG-EPOCH", epoch)


def have_met(clients: Sequence[redis.Redis], nodes: Sequence[Node]) -> bool:
    """Return whether all servers know each other; the first one meets those it does not know.

    To be called until it is true: a handshake without an answer expires, and is not repeated by
    the servers.
    """
    known = {member.port for member in members(clients[0])}
    for node in nodes[1:]:
        if node.port not in known:
            command(clients[0], "CLUSTER", "MEET", LOOPBACK, node.port, node.bus_port)
    return all(knows_all(client, len(nodes)) for client in clients)


def give_slots(clients: Sequence[redis.Redis], primaries: int) -> None:
    """Give the slots that no server has to the first servers, an equal range to each."""
    taken = [slots for client in clients for slots in myself(client).slots]
    for position, client in enumerate(clients[:primaries]):
        first, behind = (SLOTS * n // primaries for n in (position, position + 1))
        # A server refuses a range of which another one has any slot.
        if not any(low < behind and high >= first for low, high in taken):
            command(client, "CLUSTER", "ADDSLOTSRANGE", first, behind - 1)


def give_replicas(clients: Sequence[redis.Redis]) -> None:
    """Have each server without slots follow the primary that has the fewest replicas."""
    known = [myself(client) for client in clients]
    followed = [member.follows for member in known]
    for client, member in zip(clients, known, strict=True):
        if not member.slots and not member.follows:
            primaries = [each.id for each in known if each.slots]
            primary = min(primaries, key=followed.count)
            command(client, "CLUSTER", "REPLICATE", primary)
            followed.append(primary)


def count_in_step(clients: Sequence[redis.Redis]) -> int:
    """Return how many replicas have received everything from their primaries."""
    roles = [command(client, "ROLE") for client in clients]
    return sum(len(role[2]) for role in roles if role[0] == b"master")


def knows_all(client: redis.Redis, size: int) -> bool:
    """Return whether a server knows all others, and that every slot is served."""
    info = cluster_info(client)
    return info["cluster_known_nodes"] == str(size) and info["cluster_state"] == "ok"


def cluster_info(client: redis.Redis) -> dict[str, str]:
    """Return what a server reports of its cluster."""
    info: dict[str, str] = command(client, "CLUSTER INFO")
    return info


def myself(client: redis.Redis) -> Member:
    """Return a server's own place in the cluster."""
    raw: dict[str, dict[str, Any]] = command(client, "CLUSTER NODES")
    return next(read_member(*item) for item in raw.items() if "myself" in item[1]["flags"])


def members(client: redis.Redis) -> list[Member]:
    """Return what a server knows of all servers of its cluster, itself included."""
    raw: dict[str, dict[str, Any]] = command(client, "CLUSTER NODES")
    return [read_member(*item) for item in raw.items()]


def read_member(address: str, node: dict[str, Any]) -> Member:
    flags = node["flags"].split(",")
    ranges = tuple((int(first), int(last[0] if last else first)) for first, *last in node["slots"])
    follows = "" if node["master_id"] == "-" else node["master_id"]
    port = int(address.rpartition(":")[2])
    return Member(node["node_id"], port, follows, "fail" in flags, int(node["epoch"]), ranges)


def command(client: redis.Redis, *words: object) -> Any:
    """Send a command, and return its reply."""
    return client.execute_command(*words)  # type: ignore[no-untyped-call] # untyped in redis-py
