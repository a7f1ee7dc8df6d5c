"""Backup and restore with the commands of docs/operations.md and PostgreSQL's own programs."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest

from local_stack.applications import ROOT, applications
from local_stack.layout import Layout
from local_stack.ports import PLAIN_HTTP, choose_port
from local_stack.process import Running
from local_stack.stack import Stores
from local_stack.stores.postgres import can_connect, postgres, program
from local_stack.stores.valkey import redis_url, valkey
from tests.api_client import Api
from tests.conftest import own_database
from tests.guide import commands
from tests.integration.accepting import TOKEN, make_application
from tests.integration.crud_rows import add_chat_of
from tests.node_packages import stop
from tests.polling import wait_until

SERVICES = ("numbering", "crud", "worker")

pytestmark = pytest.mark.timeout(240)


class System:
    """Services, Valkey and a database of their own, which can be stopped one by one."""

    def __init__(self, directory: Path, database: str, elasticsearch: str, shards: str) -> None:
        self.layout = Layout(directory / "stack")
        self.layout.create()
        self.directory = directory
        self.valkey_port = choose_port()
        crud, numbering = choose_port(), choose_port()
        self.environment = {
            "DATABASE_URL": database,
            "REDIS_URL": redis_url(self.valkey_port),
            "ELASTICSEARCH_URL": elasticsearch,
            "CRUD_PORT": str(crud),
            "CRUD_URL": f"http://127.0.0.1:{crud}",
            "NUMBERING_PORT": str(numbering),
            "NUMBERING_URL": f"http://127.0.0.1:{numbering}",
            "INTERNAL_TOKEN": "token-of-the-tests",
            "SHARDS": shards,
            "LOCAL_STACK": "1",
        }
        self.running: dict[str, Running] = {}

    def start_valkey(self) -> None:
        self.running["valkey"] = Running(valkey(self.layout, self.valkey_port), self.layout)
        self.running["valkey"].wait_ready()

    def start(self) -> None:
        """Start the services, which may take long on a busy machine."""
        for part in applications(self.environment):
            self.running[part.name] = Running(part, self.layout)
        for name in SERVICES:
            self.running[name].wait_ready()

    def stop(self, *names: str) -> None:
        for name in names:
            self.running.pop(name).stop()

    def run(self, command: str) -> str:
        """Run commands of the guide; returns what they print."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=self.directory,
            env={**os.environ, **self.environment, "PATH": self.path(), "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    def path(self) -> str:
        """Where the programs of the guide are found; valkey-cli under either of its names."""
        shim = self.directory / "bin" / "valkey-cli"
        if not shim.exists():
            found = shutil.which("valkey-cli") or shutil.which("redis-cli")
            if found is None:
                stop("NO VALKEY-CLI: install redis-tools to test the guide's commands")
            shim.parent.mkdir()
            shim.symlink_to(found)
        folders = (shim.parent, program("pg_dump").parent, Path(sys.executable).parent)
        return ":".join([*map(str, folders), os.environ["PATH"]])

    def numbered(self, path: str, key: str = "") -> int:
        """Create a chat or a message; return its number."""
        headers = {"Idempotency-Key": key} if key else {}
        url = f"{self.environment['NUMBERING_URL']}{path}"
        answer = httpx.post(url, json={"body": "hi"}, headers=headers, timeout=15, **PLAIN_HTTP)
        assert answer.status_code == 201, answer.text
        number: int = answer.json()["number"]
        return number


@contextmanager
def running(system: System) -> Iterator[System]:
    """Run a system, of which parts may be stopped and started again, until the end of the block."""
    try:
        system.start_valkey()
        system.start()
        yield system
    finally:
        system.stop(*[name for name in (*SERVICES, "valkey") if name in system.running])


@pytest.fixture(scope="module")
def system(
    stores: Stores, migrated_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[System]:
    """A system of three shards without Elasticsearch; each test leaves it running.

    The address of its database has an option, as many have: `sslmode`, or a certificate's path.
    """
    with (
        own_database(stores, migrated_template) as url,
        running(
            System(tmp_path_factory.mktemp("system"), f"{url}?application_name=a/b", "", "3")
        ) as system,
    ):
        yield system


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=15, **PLAIN_HTTP) as client:
        yield client


def api_of(system: System, http: httpx.Client) -> Api:
    return Api(http, system.environment["CRUD_URL"], system.environment["NUMBERING_URL"])


def chat_of(api: Api, messages: int) -> str:
    """Create a chat with this many messages, all of them stored."""
    chat = api.chat(api.application())
    for _ in range(messages):
        api.message(chat, "hello")
    api.wait_for_numbers(f"{chat}/messages", list(range(1, messages + 1)), 30)
    return chat


def test_a_dump_with_a_newer_redis_continues_above_every_answered_number(
    system: System, http: httpx.Client
) -> None:
    api = api_of(system, http)
    chat = chat_of(api, 3)
    system.run(commands("A dump"))
    lost = api.application("made after the dump")
    assert system.numbered(f"{lost}/chats") == 1
    lost_chat = api.chat(chat.rpartition("/chats")[0])
    api.message(lost_chat, "lost with its chat")
    assert [system.numbered(f"{chat}/messages", f"key {n} of '5'") for n in (4, 5)] == [4, 5]
    api.wait_for_numbers(f"{chat}/messages", [1, 2, 3, 4, 5], 30)
    system.stop(*SERVICES)
    system.run(commands("Restore a dump"))
    system.run(commands("An older PostgreSQL with the current Redis"))
    system.start()
    # A client that repeats what was lost creates it anew; a number is never given twice.
    assert system.numbered(f"{chat}/messages", "key 5 of '5'") == 6
    api.wait_for_numbers(f"{chat}/messages", [1, 2, 3, 6], 30)
    assert api.get(chat)["message_count"] == 4
    assert http.get(f"{api.crud}{chat}/messages/5").json()["code"] == "not_stored_yet"
    assert system.numbered(f"{lost_chat}/messages") == 2
    api.wait_for_numbers(f"{lost_chat}/messages", [2], 30)
    assert http.post(f"{api.numbering}{lost}/chats").status_code == 404
    assert "0 differences" in system.run("python -m crud_service.manage check_index")


def test_what_was_deleted_or_rotated_after_the_dump_is_written_to_again(
    system: System, http: httpx.Client
) -> None:
    api = api_of(system, http)
    chats = [chat_of(api, 1) for _ in range(3)]
    system.run(commands("A dump"))
    application = chats[1].rpartition("/chats")[0]
    assert http.delete(api.crud + chats[0]).status_code == 204
    assert http.delete(api.crud + application).status_code == 202
    rotated = f"{api.crud}{chats[2].rpartition('/chats')[0]}/rotate"
    assert http.post(rotated, headers={"Idempotency-Key": "key"}).status_code == 200
    system.stop(*SERVICES)
    system.run(commands("Restore a dump"))
    system.run(commands("An older PostgreSQL with the current Redis"))
    system.start()
    assert [system.numbered(f"{chat}/messages") for chat in chats] == [2, 2, 2]
    assert system.numbered(f"{application}/chats") == 2


def test_a_restored_dump_is_searched_without_lost_messages(
    migrated_database_url: str, http: httpx.Client, elasticsearch_url: str, tmp_path: Path
) -> None:
    """And with a single shard, too, its sequences continue."""
    with running(System(tmp_path, migrated_database_url, elasticsearch_url, "1")) as system:
        api = api_of(system, http)
        chat = chat_of(api, 1)
        system.run(commands("A dump"))
        assert system.numbered(f"{chat}/messages", "key of a lost one") == 2
        api.message(chat, "gone with the restore")
        search = f"{chat}/messages/search?keyword="
        api.wait_for_numbers(f"{search}gone", [3], 30)
        system.stop(*SERVICES)
        system.run(commands("Restore a dump"))
        system.run(commands("An older PostgreSQL with the current Redis"))
        system.start()
        system.run(commands("The search index"))
        api.wait_for_numbers(f"{search}gone", [])
        api.wait_for_numbers(f"{search}hello", [1])
        assert system.numbered(f"{chat}/messages", "key of a lost one") == 4


def test_a_lost_redis_volume_is_seeded_from_what_is_stored(
    system: System, http: httpx.Client
) -> None:
    api = api_of(system, http)
    chat = chat_of(api, 3)
    system.stop(*SERVICES, "valkey")
    shutil.rmtree(system.layout.directory / "valkey")
    system.start_valkey()
    system.start()
    assert system.numbered(f"{chat}/messages") == 4
    assert api.chat(chat.rpartition("/chats")[0]).endswith("/chats/2")
    api.wait_for_numbers(f"{chat}/messages", [1, 2, 3, 4], 30)


def test_an_older_redis_repeats_no_number_once_its_sequences_are_deleted(
    system: System, http: httpx.Client
) -> None:
    api = api_of(system, http)
    chat = chat_of(api, 3)
    data = system.layout.directory / "valkey"
    shutil.copytree(data, system.directory / "copy")
    assert [system.numbered(f"{chat}/messages") for _ in range(2)] == [4, 5]
    api.wait_for_numbers(f"{chat}/messages", [1, 2, 3, 4, 5], 30)
    system.stop(*SERVICES, "valkey")
    shutil.rmtree(data)
    (system.directory / "copy").rename(data)
    system.start_valkey()
    system.run(commands("An older Redis with the current PostgreSQL"))
    system.start()
    assert system.numbered(f"{chat}/messages") == 6
    api.wait_for_numbers(f"{chat}/messages", [1, 2, 3, 4, 5, 6], 30)
    with psycopg.connect(system.environment["DATABASE_URL"]) as connection:
        assert connection.execute("SELECT count(*) FROM conflicts").fetchone() == (0,)


def test_a_base_backup_is_complete_and_starts(migrated_database_url: str, tmp_path: Path) -> None:
    url = migrated_database_url
    make_application(url)
    with psycopg.connect(url, autocommit=True) as database:
        add_chat_of(database, f"/applications/{TOKEN}", 3)
    System(tmp_path, url, "", "1").run(commands("A base backup"))
    with (
        ServerOn(tmp_path / "base", tmp_path / "restored", url) as restored,
        psycopg.connect(restored) as connection,
    ):
        assert connection.execute("SELECT count(*) FROM messages").fetchone() == (3,)


class ServerOn:
    """PostgreSQL started on a copy of its data; gives the URL of a database in it."""

    def __init__(self, data: Path, directory: Path, url: str) -> None:
        layout = Layout(directory)
        layout.create()
        home = layout.directory / "postgres"
        home.mkdir()
        data.rename(home / "data")
        port = choose_port()
        server, _, name = url.rpartition("/")
        self.url = f"{server.rpartition(':')[0]}:{port}/{name}"
        part = postgres(layout, port, "")
        for path in (home, *home.rglob("*")):
            part.user.give(path)
        self.running = Running(part, layout)

    def __enter__(self) -> str:
        wait_until(lambda: can_connect(self.url), 120)
        return self.url

    def __exit__(self, *_: object) -> None:
        self.running.stop()
