"""The stack of `make run CLUSTER=1`: what runs on many machines, on the ports of this one.

proxy            nginx: CRUD_PORT leads to both crud_services, NUMBERING_PORT to both others
crud-1 crud-2    numbering-1 numbering-2    worker-1 worker-2
valkey-1 … -6    a cluster: three primaries, and a replica for each, which has to acknowledge
broker           Celery's own Valkey
postgres         the primary; its commits wait for the standby
standby          of PostgreSQL; reads go there
elasticsearch    one, as in the plain stack
"""

import os
from dataclasses import replace
from functools import partial

from local_stack.applications import is_live, module, worker
from local_stack.cluster.proxy import Front, find_nginx, proxy
from local_stack.cluster.roles import Roles, bus_of, nodes_of
from local_stack.console import say, wait_for
from local_stack.ports import LOOPBACK
from local_stack.process import Part
from local_stack.stack import STORE_PORTS, Settings, Stack
from local_stack.stores.postgres import postgres
from local_stack.stores.standby import KEPT, have_commits_wait, standby, sync_state
from local_stack.stores.valkey import redis_url, valkey
from local_stack.stores.valkey_cluster import Node, form_cluster, node_settings

PRIMARIES = 3
SERVERS = tuple(f"valkey-{number}" for number in range(1, 2 * PRIMARIES + 1))
SERVICES = {"crud": "crud_service", "numbering": "numbering_service"}
COPIES = 2
# Until a primary counts as lost: more than a busy laptop makes it wait, and well below PATIENCE.
NODE_TIMEOUT_MS = 2000
# A replica is elected within some five seconds; then creations wait for the former primary, as
# a replica must acknowledge them.
PATIENCE = {"REDIS_PATIENCE_SECONDS": "20"}
DEFAULTS = {"SHARDS": str(PRIMARIES), "REPLICAS_TO_ACKNOWLEDGE": "1", **PATIENCE}
FOLLOWS_SECONDS = 60
LOOK_EVERY_SECONDS = 1.0


def copies_of(kind: str) -> list[str]:
    """Return the names of the parts of a kind."""
    return [f"{kind}-{number}" for number in range(1, COPIES + 1)]


class ClusterStack(Stack):
    """The stack with several of each part."""

    port_names = (
        *(name for name in STORE_PORTS if name != "valkey"),
        "standby",
        "broker",
        *SERVERS,
        *map(bus_of, SERVERS),
        *(name for kind in SERVICES for name in copies_of(kind)),
    )

    def __init__(self, settings: Settings):
        super().__init__(settings)
        self.nginx = find_nginx()

    def needed_stores(self) -> list[Part]:
        primary = postgres(self.layout, self.ports["postgres"], self.password, **KEPT)
        self.nodes = nodes_of(self.ports)
        self.roles = Roles(self.nodes)
        broker = valkey(self.layout, self.ports["broker"], "broker")
        return [primary, *map(self.server, self.nodes), broker]

    def server(self, node: Node) -> Part:
        """Return a server of the cluster, which is not started again before it has a successor."""
        settings = node_settings(node.bus_port, NODE_TIMEOUT_MS)
        part = valkey(self.layout, node.port, node.name, **settings)
        return replace(part, is_being_replaced=partial(self.roles.is_being_replaced, node.name))

    def connect_stores(self) -> dict[str, str]:
        url = self.database_url("postgres")
        following = self.supervisor.start([standby(self.layout, self.ports["standby"], url)])
        form_cluster(self.nodes, PRIMARIES)
        self.supervisor.wait_ready(following)
        have_commits_wait(url)
        wait_for(lambda: sync_state(url) == "quorum", "replication", FOLLOWS_SECONDS)
        chosen = {name: os.environ.get(name) or default for name, default in DEFAULTS.items()}
        return {
            "DATABASE_READ_URL": self.database_url("standby"),
            "REDIS_URL": redis_url(self.nodes[0].port),
            "BROKER_URL": redis_url(self.ports["broker"]),
            **chosen,
        }

    def applications(self) -> list[Part]:
        self.share_public_ports()
        services = [self.service(kind, name) for kind in SERVICES for name in copies_of(kind)]
        workers = [worker(self.environment, name, COPIES) for name in copies_of("worker")]
        return [*services, *workers, *self.proxies()]

    def share_public_ports(self) -> None:
        """Without a proxy, the first service of each kind has the public port."""
        if self.nginx:
            return
        say("  nginx is not installed (apt install nginx): each service has a port of its own, and")
        say("  while crud-1 restarts, creations whose sequence is missing are answered 503")
        self.ports |= {f"{kind}-1": port for kind, port in self.public_ports.items()}

    @property
    def public_ports(self) -> dict[str, int]:
        return {"crud": self.settings.crud_port, "numbering": self.settings.numbering_port}

    def service(self, kind: str, name: str) -> Part:
        port = self.ports[name]
        is_public = port == self.public_ports[kind]
        own = {f"{kind.upper()}_PORT": str(port)} | ({} if is_public else {"HOST": LOOPBACK})
        url = self.environment[f"{kind.upper()}_URL"] if is_public else f"http://{LOOPBACK}:{port}"
        return module(name, SERVICES[kind], {**self.environment, **own}, url)

    def proxies(self) -> list[Part]:
        """Return the proxy; nothing where it is not installed."""
        if not self.nginx:
            return []
        fronts = {
            kind: Front(port, [self.ports[name] for name in copies_of(kind)])
            for kind, port in self.public_ports.items()
        }
        urls = (self.environment["CRUD_URL"], self.environment["NUMBERING_URL"])
        host = self.settings.host
        return [proxy(self.layout, self.nginx, host, fronts, lambda: all(map(is_live, urls)))]

    def look_after(self) -> float:
        for change in self.roles.changes():
            say(change)
        return min(LOOK_EVERY_SECONDS, super().look_after() or LOOK_EVERY_SECONDS)
