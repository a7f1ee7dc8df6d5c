"""Which servers of the Valkey Cluster are primaries, and what of that changes."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import redis

from local_stack.stores.valkey_cluster import Member, Node, client_of, members

# The supervisor does nothing else meanwhile.
ANSWER_SECONDS = 0.5


def nodes_of(ports: Mapping[str, int]) -> list[Node]:
    """Return the servers of a cluster, by the ports of a stack that are kept between runs."""
    return [
        Node(name, port, ports[bus_of(name)])
        for name, port in ports.items()
        if bus_of(name) in ports
    ]


def bus_of(name: str) -> str:
    """Return the name under which the port is kept that a server has for the others."""
    return f"{name}-bus"


class Roles:
    """The roles of servers by their names, as the servers see them."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._names = {node.port: node.name for node in nodes}
        self.known: dict[str, str] = {}
        self._clients = [client_of(node, ANSWER_SECONDS) for node in nodes]

    def look(self) -> dict[str, str]:
        """Return the role of each server that is not lost, in words."""
        view = self.newest_view()
        names = {member.id: self._name(member) for member in view}
        return {
            names[member.id]: describe(member, names) for member in view if not member.is_failed
        }

    def changes(self) -> list[str]:
        """Look again, and return what has changed since the last time, in words."""
        before, now = self.known, self.look()
        self.known = before | now
        return [
            describe_change(name, before[name], role)
            for name, role in sorted(now.items())
            if before.get(name, role) != role
        ]

    def is_being_replaced(self, name: str) -> bool:
        """Return whether a dead server still has its slots, and has a replica to be elected."""
        view = self.newest_view()
        followed = {member.follows for member in view if not member.is_failed}
        return any(
            self._name(member) == name and member.slots and member.id in followed for member in view
        )

    def newest_view(self) -> list[Member]:
        """Return what the server says that has heard of the latest election; [] if none answers."""
        # All at the same time, so that frozen ones cost the timeout of one.
        with ThreadPoolExecutor(max(1, len(self._clients))) as pool:
            views: list[list[Member]] = [[], *pool.map(view_of, self._clients)]
        return max(views, key=lambda view: max((member.epoch for member in view), default=0))

    def _name(self, member: Member) -> str:
        return self._names.get(member.port, member.id)


def view_of(client: redis.Redis) -> list[Member]:
    """Return what a server knows of all servers; [] if it does not answer."""
    try:
        return members(client)
    except redis.RedisError:
        return []


def describe(member: Member, names: dict[str, str]) -> str:
    if member.follows:
        return f"replica of {names.get(member.follows, member.follows)}"
    return "primary" if member.slots else "primary without slots"


def describe_change(name: str, before: str, role: str) -> str:
    if role == "primary" and before.startswith("replica of "):
        return f"{name} was elected primary in place of {before.split()[-1]}"
    return f"{name} is now a {role}"
