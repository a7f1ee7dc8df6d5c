"""The number of shards is changed as docs/operations.md says, and in ways that it does not."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from contract import keys
from contract.shards import Shard, Shards
from local_stack.applications import ROOT
from local_stack.ports import PLAIN_HTTP
from local_stack.stack import Stores
from tests.conftest import own_database
from tests.fault.rig.process_stack import PACKAGES, ValkeyStack
from tests.fault.rig.verify import rows, wait_until_stored

pytestmark = pytest.mark.timeout(300)

APPLICATIONS = 5


class GrowingStack(ValkeyStack):
    """Our services on a Valkey of their own, stopped and started with other settings."""

    def __init__(self, directory: Path, database_url: str) -> None:
        super().__init__(directory, database_url, REDIS_PATIENCE_SECONDS="2", SHARDS="1")

    def stop_all(self) -> None:
        for package in list(self.parts):
            self.stop_part(package)

    def stop_part(self, package: str) -> None:
        self.parts.pop(package).end()

    def start_all(self) -> None:
        for package in PACKAGES:
            self.run(package)

    def manage(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.run_python("-m", "crud_service.manage", *words)

    def run_python(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *words],
            env=self.environment,
            cwd=ROOT,
            text=True,
            capture_output=True,
            timeout=60,
            check=False,
        )

    def post(self, path: str, body: str, key: str = "") -> httpx.Response:
        headers = {"Idempotency-Key": key} if key else {}
        fields = {"body": body} if body else {}
        url = self.numbering_url + path
        return httpx.post(url, json=fields, headers=headers, timeout=15, **PLAIN_HTTP)

    def names_of(self, shards: Shards) -> list[bytes]:
        """Return the keys that belong to any of these shards."""
        names = list(self.valkey.client.scan_iter())
        return [name for name in names if any(belongs(name, shard) for shard in shards)]


def belongs(name: bytes, shard: Shard) -> bool:
    if shard.tag:
        return shard.tag.encode() in name
    return name.startswith((b"sequence:", b"idempotency:", b"accepted", b"limit", b"lease:"))


@pytest.fixture(scope="module")
def running(
    stores: Stores, migrated_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GrowingStack]:
    with (
        own_database(stores, migrated_template) as url,
        GrowingStack(tmp_path_factory.mktemp("growing"), url) as stack,
    ):
        yield stack


@pytest.fixture
def growing(running: GrowingStack) -> GrowingStack:
    """The stack, with one shard: only the last test leaves it with more."""
    assert running.environment["SHARDS"] == "1"
    return running


@pytest.fixture
def paths(growing: GrowingStack) -> list[str]:
    """Applications, each with a chat of one message, and a limit."""
    paths = []
    for number in range(APPLICATIONS):
        url = f"{growing.crud_url}/applications"
        found = httpx.post(url, json={"name": str(number)}, timeout=15, **PLAIN_HTTP)
        paths.append(f"/applications/{found.json()['access_token']}")
        assert growing.post(f"{paths[-1]}/chats", "", "chat").status_code == 201
        assert growing.post(f"{paths[-1]}/chats/1/messages", "first", "first").status_code == 201
    return paths


def test_numbers_and_idempotency_keys_outlive_any_number_of_shards(
    growing: GrowingStack, paths: list[str]
) -> None:
    former = 1
    for step, size in enumerate((3, 2, 1)):
        # It waits until `reshard` stores it.
        growing.stop_part("crud_service.worker")
        for path in paths:
            answer = growing.post(f"{path}/chats/1/messages", f"waits {step}", f"waits {step}")
            assert answer.json()["number"] == 2 * step + 2
        growing.stop_all()
        growing.environment["SHARDS"] = str(size)
        done = growing.manage("reshard")
        assert done.returncode == 0, done.stderr
        assert f"there are {size} shards now" in done.stdout
        assert growing.names_of(Shards(former)) == []
        growing.start_all()
        for path in paths:
            again = growing.post(f"{path}/chats/1/messages", f"waits {step}", f"waits {step}")
            assert (again.status_code, again.json()["number"]) == (201, 2 * step + 2)
            assert again.headers["idempotent-replayed"] == "true"
            answer = growing.post(f"{path}/chats/1/messages", f"new {step}")
            assert answer.json()["number"] == 2 * step + 3
            assert growing.post(f"{path}/chats", "").json()["number"] == step + 2
        former = size
    wait_until_stored(growing)
    for path in paths:
        url = f"{growing.crud_url}{path}/chats/1/messages"
        found = httpx.get(url, timeout=15, **PLAIN_HTTP).json()
        assert [message["number"] for message in found] == list(range(1, 8))
    assert rows(growing, "SELECT count(*) FROM conflicts") == [(0,)]


def test_another_number_without_the_procedure_is_refused(
    growing: GrowingStack, paths: list[str]
) -> None:
    assert growing.post(f"{paths[0]}/chats/1/messages", "second").json()["number"] == 2
    growing.stop_all()
    growing.environment["SHARDS"] = "3"
    for package in ("crud_service", "crud_service.worker"):
        refused = growing.run_python("-m", package)
        assert refused.returncode == 1
        assert "SHARDS is 3, but this installation has 1" in refused.stderr
    # numbering_service starts, as it does without crud_service, but gets no sequence.
    growing.run("numbering_service")
    growing.environment["SHARDS"] = "1"
    growing.run("crud_service")
    answer = growing.post(f"{paths[0]}/chats/1/messages", "third")
    assert answer.status_code == 503, answer.text
    growing.stop_part("numbering_service")
    growing.run("numbering_service")
    growing.run("crud_service.worker")
    assert growing.post(f"{paths[0]}/chats/1/messages", "third").json()["number"] == 3
    wait_until_stored(growing)


def test_a_change_that_was_interrupted_has_to_be_finished(
    growing: GrowingStack, paths: list[str]
) -> None:
    growing.stop_all()
    assert rows(growing, "UPDATE shards SET former = size, size = 3 RETURNING size") == [(3,)]
    unfinished = growing.run_python("-m", "crud_service")
    assert unfinished.returncode == 1
    assert "run `reshard` to its end" in unfinished.stderr
    other = growing.manage("reshard")
    assert (other.returncode, other.stdout) == (1, "")
    assert "SHARDS=3" in other.stderr
    growing.environment["SHARDS"] = "3"
    assert growing.manage("reshard").returncode == 0
    growing.start_all()
    for path in paths:
        again = growing.post(f"{path}/chats/1/messages", "first", "first")
        assert (again.json()["number"], again.headers["idempotent-replayed"]) == (1, "true")
    shard = Shards(3).of(paths[0].rpartition("/")[2])
    sequence = shard.key(keys.message_sequence(paths[0].rpartition("/")[2], 1))
    assert growing.valkey.client.get(sequence) is None, "a replay needs no sequence"
    assert growing.manage("reshard").stdout == "there are 3 shards already\n"
