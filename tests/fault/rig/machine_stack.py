"""Two of each of our processes on stores that have a second machine each: any machine may die.

Clients reach both processes of a service by one address, as through a load balancer, and the
services reach the cluster and PostgreSQL by addresses that lead to whatever is there.
"""

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import count
from pathlib import Path

import redis

from contract.shards import Shards
from crud_service.duties.background import running
from local_stack.applications import migrate
from local_stack.ports import LOOPBACK, choose_port
from tests.fault.rig.cluster_stack import ClusterStack
from tests.fault.rig.linked_cluster import LinkedCluster
from tests.fault.rig.postgres_pair import PostgresPair
from tests.fault.rig.process_stack import PACKAGES
from tests.integration.numbering.surroundings import Valkey
from tests.links import Link, Links
from tests.polling import wait_until

# The services that listen, and by which setting they get their port.
PORTS = {"crud_service": "CRUD_PORT", "numbering_service": "NUMBERING_PORT"}
BESIDE = " beside"


class Balancer:
    """An address that leads to the processes of a service that serve, in turn."""

    def __init__(self, links: Links) -> None:
        self.serving: tuple[int, ...] = ()  # replaced as a whole: links read it in their thread
        self._turns = count()
        self.link: Link = links.add(self._next)

    def _next(self) -> int:
        serving = self.serving
        return serving[next(self._turns) % len(serving)]


class MachineStack(ClusterStack):
    """Two numbering, two crud, two workers; three primaries with a replica each; two PostgreSQL."""

    cluster: LinkedCluster

    def __init__(self, directory: Path, links: Links, elasticsearch_url: str) -> None:
        own = {"ELASTICSEARCH_URL": elasticsearch_url, "SEARCH_INDEX": "machines"}
        cluster = LinkedCluster(directory / "cluster", links)
        super().__init__(directory, "", cluster, **own)
        (directory / "postgres").mkdir()
        self.postgres = PostgresPair(directory / "postgres", links)
        self._balancers = {package: Balancer(links) for package in PORTS}
        self._ports = {name: choose_port() for name in self.names(*PORTS)}
        self.numbering_port = self._balancers["numbering_service"].link.port
        any_node = links.add(self._any_node)
        self.environment |= {
            "DATABASE_URL": self.postgres.url,
            "REDIS_URL": f"redis://{LOOPBACK}:{any_node.port}/0",
            "CRUD_URL": f"http://{LOOPBACK}:{self._balancers['crud_service'].link.port}",
            "NUMBERING_URL": f"http://{LOOPBACK}:{self.numbering_port}",
        }

    @staticmethod
    def names(*packages: str) -> list[str]:
        """Return the names of both processes of each package."""
        return [package + which for package in packages for which in ("", BESIDE)]

    def _any_node(self) -> int:
        return random.choice([server.port for server in self.cluster.asked() if server.is_running])

    def start_stores(self) -> None:
        super().start_stores()
        self.postgres.start()
        migrate(self.postgres.primary.layout, self.environment)
        self.postgres.set_up_standby()

    def end_stores(self) -> None:
        super().end_stores()
        self.postgres.end()

    def start_parts(self) -> None:
        for name in self.names(*PACKAGES):
            self.bring_up(name)

    def bring_up(self, name: str) -> None:
        """Start a process under its name; clients are led to it once it answers."""
        package = name.removesuffix(BESIDE)
        if package not in PORTS:
            self.run(package, name)
            return
        port = self._ports[name]
        self.run(package, name, **{PORTS[package]: str(port)})
        self._balancers[package].serving += (port,)

    def kill_at_once(self, *names: str) -> None:
        """kill -9 processes before any of them is waited for."""
        for name in names:
            os.kill(self.parts[name].popen.pid, signal.SIGKILL)
        for name in names:
            self.parts[name].end(signal.SIGKILL)
            if name in self._ports:
                balancer = self._balancers[name.removesuffix(BESIDE)]
                balancer.serving = tuple(set(balancer.serving) - {self._ports[name]})

    def lose_stores(self, lost: Valkey, chance: random.Random) -> None:
        """Lose a primary of the cluster, PostgreSQL's and a worker at once, and replace them all.

        What was lost comes back in any order: as a replica, as a new standby.
        """
        worker = chance.choice(self.names("crud_service.worker"))
        os.kill(lost.pid, signal.SIGKILL)
        self.kill_at_once(worker)
        self.postgres.primary.kill()
        time.sleep(chance.uniform(0, 0.5))
        self.postgres.replace_primary()
        self.cluster.wait_for_successor(lost)
        back: list[Callable[[], None]] = [
            lost.restart,
            self.postgres.set_up_standby,
            partial(self.bring_up, worker),
        ]
        chance.shuffle(back)
        for bring_back in back:
            bring_back()
        self.wait_until_in_step()

    def lose_services(self, chance: random.Random, meanwhile: Callable[[], None]) -> None:
        """Lose one process of each service at once; `meanwhile` the others have all clients."""
        lost = [chance.choice(self.names(package)) for package in PORTS]
        self.kill_at_once(*lost)
        meanwhile()
        for name in lost:
            self.bring_up(name)

    def cut_off(self, lost: Valkey, chance: random.Random) -> None:
        """Cut a primary off from its cluster until its replica has replaced it, and longer."""
        self.cluster.cut_off(lost)
        self.cluster.wait_for_successor(lost)
        time.sleep(chance.uniform(0, 1))
        self.cluster.heal(lost)
        self.wait_until_in_step()

    def wait_until_in_step(self) -> None:
        """Wait until the cluster is whole again."""
        wait_until(self.cluster.is_ready, 60, self.output)

    @contextmanager
    def moving_slots(self, lost: Valkey, chance: random.Random) -> Iterator[None]:
        """Have slots of shards move all the time, none of them to a server that is to be lost.

        One at a time: a server of Valkey 9.1 that sends one slot while it receives another may end
        with a failed assertion, and is then a second machine that is lost.
        What has just been moved is on its new server, and a moment later on that one's replica.
        """
        choose = random.Random(chance.getrandbits(32))

        def move(over: threading.Event) -> None:
            while not over.wait(choose.uniform(0, 0.5)):
                # Either of the two may be unavailable, or have become a replica.
                with suppress(redis.RedisError):
                    targets = [server for server in self.cluster.owners() if server is not lost]
                    shard = choose.choice(list(Shards(int(self.environment["SHARDS"]))))
                    if targets:
                        self.cluster.begin_to_move(shard, choose.choice(targets))
                self.cluster.wait_until_settled(over)

        with running("moving slots", move):
            yield
        # What is lost next may be where a slot has just been moved to.
        self.cluster.end_moves()
        self.wait_until_in_step()
