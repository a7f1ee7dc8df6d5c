"""Our services with a primary of Valkey and a replica that has to acknowledge, and nothing else.

The services know the primary by an address that moves, a link; the replica follows it through
another one. So a primary can be killed, or cut off from everybody, and replaced.
"""

import random
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from bench.running_stack import RunningStack
from local_stack.ports import LOOPBACK, choose_port
from tests.integration.numbering.surroundings import Process, Valkey, request
from tests.links import Links
from tests.polling import wait_until

IN_STEP_SECONDS = 60


class ReplicatedStack(RunningStack):
    """numbering, crud and a worker, which lose nothing with the primary."""

    def __init__(self, directory: Path, links: Links, database_url: str):
        super().__init__(directory)
        self.directory = directory
        self.primary, self.replica = (self._server(name) for name in ("first", "second"))
        self.address = links.add(lambda: self.primary.port)
        self.replication = links.add(lambda: self.primary.port)
        self.environment = {
            "REDIS_URL": f"redis://{LOOPBACK}:{self.address.port}/0",
            "DATABASE_URL": database_url,
            "ELASTICSEARCH_URL": "",
            "CRUD_URL": f"http://{LOOPBACK}:{self.crud_port}",
            "CRUD_PORT": str(self.crud_port),
            "NUMBERING_URL": f"http://{LOOPBACK}:{self.numbering_port}",
            "NUMBERING_PORT": str(self.numbering_port),
            "INTERNAL_TOKEN": "t",
            "LOCAL_STACK": "1",
            "REPLICAS_TO_ACKNOWLEDGE": "1",
        }
        self.parts: dict[str, Process] = {}

    def _server(self, name: str) -> Valkey:
        directory = self.directory / name
        directory.mkdir(parents=True)
        return Valkey(directory)

    def __enter__(self) -> Self:
        try:
            self.primary.start()
            self.replica.start()
            self.bring_back()
            for name in ("crud_service", "crud_service.worker", "numbering_service"):
                self.run(name)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for part in self.parts.values():
            part.end(signal.SIGKILL)
        for server in (self.primary, self.replica):
            server.client.close()
            if server.process is not None:
                server.kill()

    def run(self, package: str, name: str = "", **environment: str) -> Process:
        """Start a process by its package, and wait until it answers."""
        merged: Mapping[str, str] = {**self.environment, **environment}
        command = [sys.executable, "-m", package]
        process = Process(self.directory / f"{name or package}.log", command, **merged)
        self.parts[name or package] = process
        port = {"crud_service": "CRUD_PORT", "numbering_service": "NUMBERING_PORT"}.get(package)
        if port:
            number = int(merged[port])
            process.wait_for(lambda: request(number, "GET", "/health/live").status == 200)
        return process

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

    def kill_worker(self) -> None:
        """kill -9, and a new one."""
        self.parts["crud_service.worker"].end(signal.SIGKILL)
        self.run("crud_service.worker")

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
            self.kill_worker()
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

    def output(self) -> str:
        return "".join(part.log.read_text()[-3000:] for part in self.parts.values())


def offset(server: Valkey) -> int:
    return int(server.client.info("replication")["master_repl_offset"])
