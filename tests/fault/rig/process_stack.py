"""Our three processes on stores that a test brings along, and nothing else."""

import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from bench.running_stack import RunningStack
from local_stack.ports import LOOPBACK
from tests.integration.numbering.surroundings import Process, Valkey, request

PACKAGES = ("crud_service", "crud_service.worker", "numbering_service")


class ProcessStack(RunningStack):
    """numbering, crud and a worker, each of which a test may kill."""

    def __init__(self, directory: Path, database_url: str, **environment: str) -> None:
        super().__init__(directory)
        self.directory = directory
        self.environment = {
            "DATABASE_URL": database_url,
            "ELASTICSEARCH_URL": "",
            "CRUD_URL": f"http://{LOOPBACK}:{self.crud_port}",
            "CRUD_PORT": str(self.crud_port),
            "NUMBERING_URL": f"http://{LOOPBACK}:{self.numbering_port}",
            "NUMBERING_PORT": str(self.numbering_port),
            "INTERNAL_TOKEN": "t",
            "LOCAL_STACK": "1",
            **environment,
        }
        self.parts: dict[str, Process] = {}

    def __enter__(self) -> Self:
        try:
            self.start_stores()
            self.start_parts()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for part in self.parts.values():
            part.end(signal.SIGKILL)
        self.end_stores()

    def start_parts(self) -> None:
        for package in PACKAGES:
            self.run(package)

    def start_stores(self) -> None:
        """Start what the processes need."""

    def end_stores(self) -> None:
        """End it."""

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

    def kill_part(self, package: str) -> None:
        """kill -9, and a new one."""
        self.parts[package].end(signal.SIGKILL)
        self.run(package)

    def output(self) -> str:
        return "".join(part.log.read_text()[-3000:] for part in self.parts.values())


class ValkeyStack(ProcessStack):
    """Our processes on a Valkey of their own."""

    def __init__(self, directory: Path, database_url: str, **environment: str) -> None:
        super().__init__(directory, database_url, **environment)
        self.valkey = Valkey(directory)
        self.environment["REDIS_URL"] = self.valkey.url

    def start_stores(self) -> None:
        self.valkey.start()

    def end_stores(self) -> None:
        self.valkey.client.close()
        if self.valkey.process is not None:
            self.valkey.kill()
