"""Fixtures of crud_service: in this process, and as the process that it is in real life.

http            an httpx.Client on the WSGI application in this process
database        a psycopg connection to its database
application     a new application: its path, `/applications/<token>`
crud_server     a function that starts `python -m crud_service`; stopped after the test
shared_server   one for all tests of a module, on empty stores
own_valkey      a Valkey of this module alone, which its tests may freeze and kill
valkey          the same, emptied before the test
between_calls   a function that has something happen between two calls of a module's functions
"""

import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import httpx
import psutil
import psycopg
import pytest

from local_stack.compiled.tree import import_variables
from local_stack.ports import PLAIN_HTTP, choose_port
from tests.conftest import SESSION
from tests.integration.numbering.surroundings import Valkey
from tests.polling import wait_until

IMPATIENT = (
    "from web.server.limits import Limits; from crud_service import __main__;"
    " __main__.main(Limits(write_seconds={}))"
)


@pytest.fixture(scope="session", autouse=True)
def close_connections() -> Iterator[None]:
    """Leave no connection of the API's to the interpreter's end, which warns of it."""
    yield
    if "crud_service.stores.database" in sys.modules:
        sys.modules["crud_service.stores.database"].close_idle()


@pytest.fixture
def http(clean_crud: dict[str, str]) -> Iterator[httpx.Client]:
    from crud_service.wsgi import application

    transport = httpx.WSGITransport(app=application)
    with httpx.Client(transport=transport, base_url="http://crud.test") as client:
        yield client


@pytest.fixture
def database(clean_crud: dict[str, str]) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(clean_crud["DATABASE_URL"], autocommit=True) as connection:
        yield connection


@pytest.fixture
def application(http: httpx.Client) -> str:
    token = http.post("/applications", json={"name": "An application"}).json()["access_token"]
    return f"/applications/{token}"


@pytest.fixture(scope="module")
def own_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with Valkey(tmp_path_factory.mktemp("valkey")) as running:
        yield running


@pytest.fixture
def valkey(own_valkey: Valkey) -> Valkey:
    own_valkey.client.flushall()
    return own_valkey


@dataclass
class CrudServer:
    """A running `python -m crud_service`."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @classmethod
    def start(cls, command: Sequence[str], environment: Mapping[str, str]) -> Self:
        """Start one on a free port, and wait until it answers.

        Its output goes to a file: a pipe that nobody reads would be full one day, and stop it.
        """
        port, log = choose_port(), SESSION / f"crud-{uuid.uuid4()}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, *command],
                env={**os.environ, **import_variables(), **environment, "CRUD_PORT": str(port)},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        server = cls(process, port, log)
        try:
            wait_until(server._is_live, 90, lambda: "crud_service does not answer")
        except BaseException:
            server.kill()
            raise
        return server

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def output(self) -> str:
        """What it has written until now."""
        return self.log.read_text(errors="replace")

    def is_connected(self, client: socket.socket) -> bool:
        """Return whether it still has the connection of a client, without reading from that."""
        port = client.getsockname()[1]
        connections = psutil.Process(self.process.pid).net_connections()
        return any(each.raddr and each.raddr.port == port for each in connections)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def _is_live(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health/live", **PLAIN_HTTP).status_code == 200
        except httpx.TransportError:
            assert self.process.poll() is None, self.output()
            return False

    def resident_kib(self) -> int:
        """The memory of the process."""
        return self._memory("VmRSS")

    def peak_resident_kib(self) -> int:
        """The most memory that the process ever had."""
        return self._memory("VmHWM")

    def _memory(self, name: str) -> int:
        with open(f"/proc/{self.process.pid}/status") as status:
            line = next(line for line in status if line.startswith(name))
        return int(line.split()[1])

    def stop(self) -> str:
        """End it; its output."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=60)
        return self.output()


@pytest.fixture
def crud_server(clean_crud: dict[str, str]) -> Iterator[Callable[..., CrudServer]]:
    with crud_servers(clean_crud) as start:
        yield start


@pytest.fixture(scope="module")
def module_server(crud: dict[str, str]) -> Iterator[CrudServer]:
    with crud_servers(crud) as start:
        yield start()


@pytest.fixture
def shared_server(clean_crud: dict[str, str], module_server: CrudServer) -> CrudServer:
    return module_server


@contextmanager
def crud_servers(stores: Mapping[str, str]) -> Iterator[Callable[..., CrudServer]]:
    """A function that starts `python -m crud_service` on some stores, until the end of the block.

    `stores` are the environment variables that lead to them.
    """
    servers: list[CrudServer] = []

    def start(patience: str = "", **environment: str) -> CrudServer:
        """`patience`: for how many seconds a client may read nothing, where not as in life."""
        command = ("-c", IMPATIENT.format(patience)) if patience else ("-m", "crud_service")
        servers.append(CrudServer.start(command, {**stores, **environment}))
        return servers[-1]

    try:
        yield start
    finally:
        for server in servers:
            server.kill()


class BetweenCalls:
    """Has something happen between two calls of functions, as a concurrent request does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def __call__(
        self, module: ModuleType, *names: str, happen: Callable[[], object], after: int = 0
    ) -> None:
        """Have it happen once.

        Args:
            module: where the functions are called by their names.
            names: which functions.
            happen: what happens.
            after: how many calls of any of them come before.
        """
        calls = count()

        def patched(function: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any) -> Any:
                if next(calls) == after:
                    happen()
                return function(*arguments)

            return call

        for name in names:
            self._monkeypatch.setattr(module, name, patched(getattr(module, name)))


@pytest.fixture
def between_calls(monkeypatch: pytest.MonkeyPatch) -> BetweenCalls:
    return BetweenCalls(monkeypatch)
