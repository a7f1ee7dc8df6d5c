"""Our services with a primary of Valkey and a replica that has to acknowledge, and nothing else.

The services know the primary by an address that moves, a link; the replica follows it through
another one. So a primary can be killed, or cut off from everybody, and replaced.
"""

import random
import signal
import time
from pathlib import Path

from local_stack.ports import LOOPBACK, choose_port
from tests.fault.rig.process_stack import ProcessStack
from tests.integration.numbering.surroundings import Valkey
from tests.links import Links
from tests.polling import wait_until

IN_STEP_SECONDS = 60


class ReplicatedStack(ProcessStack):
    """numbering, crud and a worker, which lose nothing with the primary."""

    def __init__(self, directory: Path, links: Links, database_url: str):
        super().__init__(directory, database_url, REPLICAS_TO_ACKNOWLEDGE="1")
        self.primary, self.replica = (self._server(name) for name in ("first", "second"))
        self.address = links.add(lambda: self.primary.port)
        self.replication = links.add(lambda: self.primary.port)
        self.environment["REDIS_URL"] = f"redis://{LOOPBACK}:{self.address.port}/0"

    def _server(self, name: str) -> Valkey:
        directory = self.directory / name
        directory.mkdir(parents=True)
        return Valkey(directory)

    def start_stores(self) -> None:
        self.primary.start()
        self.replica.start()
        self.bring_back()

    def end_stores(self) -> None:
        for server in (self.primary, self.replica):
            server.client.close()
            if server.process is not None:
                server.kill()

    def run_beside(self, redis_url: str) -> int:
        """Start another numbering and another worker, for another address; returns the port."""
        port = choose_port()
        own = {"REDIS_URL": redis_url, "REDIS_PATIENCE_SECONDS": "1"}
        self.run("numbering_service", "numbering beside", NUMBERING_PORT=str(port), **own)
        self.run("crud_service.worker", "worker beside", **own)
        return port

    def end_beside(self) -> None:
        for name in ("numbering beside", "worker beside"):
            self.parts.pop(name).end(signal.SIGKILL)

    def promote(self) -> None:
        """What an operator does: the replica becomes the primary, and the address moves there."""
        self.replica.client.replicaof("NO", "ONE")
        self.primary, self.replica = self.replica, self.primary

    def bring_back(self) -> None:
        """Have the former primary follow the new one, and wait until it is in step."""
        self.primary.client.config_set("repl-diskless-sync-delay", 0)
        self.replica.client.replicaof(LOOPBACK, self.replication.port)
        wait_until(self.is_in_step, IN_STEP_SECONDS)

    def is_in_step(self) -> bool:
        role = self.primary.client.role()
        return bool(role[0] == b"master" and role[2])

    def lose_primary(self, chance: random.Random) -> None:
        """kill -9 the primary, and sometimes a worker with it; replace it, and bring it back."""
        self.primary.kill()
        if chance.random() < 0.5:
            self.kill_part("crud_service.worker")
        time.sleep(chance.uniform(0, 0.5))
        self.promote()
        time.sleep(chance.uniform(0, 0.5))
        self.replica.start()
        self.bring_back()

    def switch(self) -> None:
        """Exchange the roles of two healthy servers; every connection to the old one stays open."""
        former = self.primary
        former.client.client_pause(10_000, all=False)
        wait_until(lambda: offset(self.replica) >= offset(former), IN_STEP_SECONDS)
        self.promote()
        # In one write: a moment later it is loading what the new primary has.
        demotion = former.client.pipeline(transaction=False)
        demotion.replicaof(LOOPBACK, self.replication.port)
        demotion.client_unpause()
        demotion.execute()
        wait_until(self.is_in_step, IN_STEP_SECONDS)

    def cut_off_primary(self) -> None:
        """Nothing reaches the primary through a link any more, nor comes back."""
        self.replication.silence()
        self.address.silence()


def offset(server: Valkey) -> int:
    return int(server.client.info("replication")["master_repl_offset"])
