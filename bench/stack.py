"""The stack that is measured: real stores, and our processes started one by one."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Self

import psycopg
import redis

from local_stack.applications import applications, migrate, module
from local_stack.layout import Layout
from local_stack.ports import LOOPBACK, choose_port
from local_stack.process import Part, Running
from local_stack.stack import Settings, Stack, Stores


class BenchStack(Stack):
    """Stores in a directory of their own, on free ports; nothing is started again by itself."""

    def __init__(self, directory: Path, *, with_elasticsearch: bool = False) -> None:
        crud = choose_port()
        numbering = choose_port({crud})
        settings = Settings(directory, crud, numbering, with_elasticsearch=with_elasticsearch)
        super().__init__(settings)

    def __enter__(self) -> Self:
        self.prepare()
        try:
            self.environment = {**Stores.start(self), **self.application_environment()}
            self.wait_for_elasticsearch()
            migrate(self.layout, self.environment)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def run(self, name: str, **environment: str) -> Running:
        """Start one of crud, worker and numbering, and wait until it works."""
        merged = {**self.environment, **environment}
        return self.run_part(next(part for part in applications(merged) if part.name == name))

    def run_part(self, part: Part) -> Running:
        """Start a part and wait until it works."""
        part = replace(part, environment={**part.environment, "PYTHONUNBUFFERED": "1"})
        (running,) = self.supervisor.start([part])
        running.wait_ready()
        return running

    def run_module(self, name: str, package: str, url: str, **environment: str) -> Running:
        """Start an HTTP server that is run as a module and tells that it is live."""
        return self.run_part(module(name, package, {**self.environment, **environment}, url))

    def run_beside(
        self, name: str, package: str, port_variable: str, **environment: str
    ) -> tuple[str, Running]:
        """Start a service on a port of its own, named by a variable; returns its URL, too."""
        port = choose_port()
        url = f"http://{LOOPBACK}:{port}"
        return url, self.run_module(name, package, url, **environment, **{port_variable: str(port)})

    def end(self, running: Running) -> None:
        """End one part."""
        running.stop()
        watched = self.supervisor.watched
        self.supervisor.watched = [each for each in watched if each.running is not running]

    @contextmanager
    def during(self, running: Running) -> Iterator[Running]:
        """A part for as long as it is needed."""
        try:
            yield running
        finally:
            self.end(running)

    def redis(self) -> "redis.Redis":
        """A client of the stack's Valkey."""
        return redis.Redis.from_url(self.environment["REDIS_URL"], socket_timeout=30)

    def database(self) -> psycopg.Connection:
        """A connection to the stack's PostgreSQL that commits each statement."""
        return psycopg.connect(self.environment["DATABASE_URL"], autocommit=True)

    @property
    def valkey_pid(self) -> int:
        return int((self.layout.pids / "valkey").read_text())

    @property
    def numbering_url(self) -> str:
        return self.environment["NUMBERING_URL"]

    @property
    def crud_url(self) -> str:
        return self.environment["CRUD_URL"]


def fresh(directory: Path) -> Path:
    """A directory that holds nothing of an earlier run; raises StackError if one uses it still."""
    if directory.exists():
        with Layout(directory).lock():
            shutil.rmtree(directory)
    return directory


def forget_proxies() -> None:
    """Everything measured here is on this machine."""
    for name in list(os.environ):
        if name.lower() in {"http_proxy", "https_proxy", "all_proxy"}:
            del os.environ[name]
