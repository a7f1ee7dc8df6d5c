"""`python -m local_stack run` as a user sees it: what it prints, and what it leaves behind."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest
import redis

from bench.running_stack import RunningStack
from local_stack.applications import ROOT
from local_stack.layout import Layout
from local_stack.process import is_ours
from local_stack.stack import Settings, Stores
from local_stack.stores.distribution import UnavailableError, distribution
from tests.api_client import Api
from tests.children import suspended
from tests.conftest import elasticsearch_start
from tests.polling import wait_until


def run(
    directory: Path, command: str = "run", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command that is expected to fail soon."""
    return subprocess.run(
        [sys.executable, "-m", "local_stack", command],
        cwd=ROOT,
        env={**os.environ, "LOCAL_DIR": str(directory), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("variable", ["CRUD_PORT", "NUMBERING_PORT"])
def test_a_taken_port_is_named_in_one_line(tmp_path: Path, variable: str) -> None:
    other = {"CRUD_PORT": "NUMBERING_PORT", "NUMBERING_PORT": "CRUD_PORT"}[variable]
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        done = run(tmp_path, **{variable: str(port), other: "20001"})
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert f"port {port} is taken by " in line
    assert f"(pid {os.getpid()})" in line
    assert f"{variable}=" in line
    assert list(Layout(tmp_path).pids.iterdir()) == []


def test_an_invalid_port_is_named_in_one_line(tmp_path: Path) -> None:
    done = run(tmp_path, CRUD_PORT="abc")
    assert (done.returncode, done.stderr) == (1, "local_stack: CRUD_PORT=abc is not a port\n")


def test_an_address_of_another_machine_is_named_in_one_line(tmp_path: Path) -> None:
    done = run(tmp_path, HOST="192.0.2.1")  # reserved for documentation
    said = "local_stack: HOST=192.0.2.1 is not an address of this machine: "
    assert (done.returncode, done.stderr.startswith(said)) == (1, True), done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_running_stack_is_not_started_twice(tmp_path: Path) -> None:
    with Layout(tmp_path).lock():
        done = run(tmp_path, CRUD_PORT="20001", NUMBERING_PORT="20002")
    assert done.returncode == 1
    assert f"a stack is already running in {tmp_path} (supervisor {os.getpid()})" in done.stderr
    assert done.stderr.endswith(f"`make stop LOCAL_DIR={tmp_path}` ends it\n")


def test_missing_maven_is_a_reason_and_not_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(UnavailableError, match="mvn is not installed"):
        distribution(Layout(tmp_path))


def test_the_stores_write_before_they_answer_and_keep_data_and_ports_between_runs(
    tmp_path: Path,
) -> None:
    """As `make run` starts them; the stores that tests share write later."""
    settings = Settings(tmp_path, with_elasticsearch=False)
    with running_stores(settings) as first:
        check_that_they_write_before_they_answer(first)
        use(first, "SET kept 1", "CREATE TABLE kept ()")
    with running_stores(settings) as second:
        use(second, "GET kept", "TABLE kept")
    assert first == second
    assert not first["ELASTICSEARCH_URL"]


@contextmanager
def running_stores(settings: Settings) -> Iterator[dict[str, str]]:
    """Start the stores, and stop them at the end of the block; yields their addresses."""
    stores = Stores(settings)
    stores.prepare()
    try:
        yield stores.start()
    finally:
        stores.stop()


def use(addresses: dict[str, str], command: str, query: str) -> None:
    """Send a command to Valkey and a query to PostgreSQL."""
    with redis.Redis.from_url(addresses["REDIS_URL"]) as client:
        assert client.execute_command(*command.split())
    with psycopg.connect(addresses["DATABASE_URL"]) as connection:
        connection.execute(query)


def check_that_they_write_before_they_answer(addresses: dict[str, str]) -> None:
    with redis.Redis.from_url(addresses["REDIS_URL"], decode_responses=True) as client:
        wanted = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}
        assert {name: client.config_get(name)[name] for name in wanted} == wanted
    with psycopg.connect(addresses["DATABASE_URL"]) as connection:
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            assert connection.execute(f"SHOW {setting}").fetchone() == ("on",)
        sorting = "SELECT datlocprovider, datlocale, pg_encoding_to_char(encoding) FROM pg_database"
        assert connection.execute(sorting).fetchone() == ("b", "C.UTF-8", "UTF8")


@pytest.mark.timeout(300)
def test_a_killed_supervisor_takes_everything_with_it_and_a_second_start_keeps_the_data(
    tmp_path: Path, client: httpx.Client
) -> None:
    stack = RunningStack(tmp_path, environment={"WITHOUT_ELASTICSEARCH": "1"})
    with stack:
        api = Api(client, stack.crud_url, stack.numbering_url)
        chat = api.chat(api.application())
        assert api.message(chat, "kept") == 1
        former = pids(stack)
        assert stack.process is not None
        stack.process.kill()
        stack.process.wait()
    wait_until(lambda: not any(map(psutil.pid_exists, former)), 60)
    with stack:
        assert api.message(chat, "and more") == 2
        api.wait_for_numbers(f"{chat}/messages", [1, 2])
        last = pids(stack)
        assert stack.stop(signal.SIGINT) == 0
    assert not any(map(psutil.pid_exists, last))
    assert not stack.layout.stack_env.exists()


def pids(stack: RunningStack) -> list[int]:
    return [stack.pid(name) for name in ("postgres", "valkey", "crud", "worker", "numbering")]


@pytest.mark.timeout(400)
def test_the_demo_runs_before_elasticsearch_has_started(tmp_path: Path) -> None:
    try:
        distribution(Layout(tmp_path))
    except UnavailableError as error:
        pytest.skip(f"NO ELASTICSEARCH: {error}")
    with elasticsearch_start(), launched(RunningStack(tmp_path)) as stack:
        wait_until((stack.layout.pids / "elasticsearch").exists, 120, stack.output)
        elasticsearch = psutil.Process(stack.pid("elasticsearch"))
        with suspended([elasticsearch, *elasticsearch.children(recursive=True)]):
            wait_until(stack.has_started, 120, stack.output)
            starting = "Elasticsearch (still starting"
            wait_until(lambda: starting in stack.output(), 60, stack.output)
            done = run(tmp_path, "demo")
            assert done.returncode == 0, done.stderr
        said = "elasticsearch is ready after"
        wait_until(lambda: said in stack.output(), 240, stack.output)
        check_pid_of_elasticsearch(stack)


def check_pid_of_elasticsearch(stack: RunningStack) -> None:
    """It is that of the server itself, and not of the program that starts it."""
    server = psutil.Process(stack.pid("elasticsearch"))
    assert server.name() == "java"
    port = int(stack.layout.read_env()["ELASTICSEARCH_URL"].rpartition(":")[2])
    assert port in {connection.laddr.port for connection in server.net_connections()}
    assert os.geteuid() != 0 or server.username() == "nobody"


@contextmanager
def launched(stack: RunningStack) -> Iterator[RunningStack]:
    """Launch a stack without waiting for it; it has to end well."""
    stack.launch()
    try:
        yield stack
    finally:
        assert stack.stop() == 0


def test_every_store_is_recognised_as_ours(stores: Stores) -> None:
    for name in ("postgres", "valkey"):
        pid = int((stores.layout.pids / name).read_text())
        assert is_ours(psutil.Process(pid), stores.layout.directory), name
        assert not is_ours(psutil.Process(pid), stores.layout.directory.parent), name
