"""Fixtures of crud_service: in this process, and as the process that it is in real life.

http            an httpx.Client on the WSGI application in this process
database        a psycopg connection to its database
application     a new application: its path, `/applications/<token>`
crud_server     a function that starts `python -m crud_service`; stopped after the test
shared_server   one for all tests of a module, on empty stores
own_valkey      a Valkey of this module alone, which its tests may freeze and kill
valkey          the same, emptied before the test
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import psycopg
import pytest

from local_stack.ports import choose_port
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

    process: subprocess.Popen[str]
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

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
        output, _ = self.process.communicate(timeout=15)
        return output


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
        port = choose_port()
        settings = {**os.environ, **stores, "CRUD_PORT": str(port), **environment}
        process = subprocess.Popen(
            [sys.executable, "-c", IMPATIENT.format(patience)]
            if patience
            else [sys.executable, "-m", "crud_service"],
            env=settings,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        servers.append(CrudServer(process, port))
        wait_until_live(servers[-1])
        return servers[-1]

    try:
        yield start
    finally:
        for server in servers:
            if server.process.poll() is None:
                server.process.kill()
            server.process.communicate()


def wait_until_live(server: CrudServer) -> None:
    def is_live() -> bool:
        try:
            return httpx.get(f"{server.url}/health/live", trust_env=False).status_code == 200
        except httpx.TransportError:
            assert server.process.poll() is None, server.process.communicate()[0]
            return False

    wait_until(is_live, 30, lambda: "crud_service does not answer")
