"""Three shards on one server: parts are killed while applications of all shards are loaded."""

import random
import signal
from collections.abc import Iterator

import httpx
import pytest

from contract import keys
from contract.shards import Shards
from local_stack.ports import PLAIN_HTTP
from local_stack.stack import Stores
from tests.conftest import own_database
from tests.fault.rig.many_loads import applications_of_all_shards, loaded_shards
from tests.fault.rig.process_stack import ValkeyStack
from tests.fault.rig.verify import rows, wait_until_stored
from tests.polling import eventually, wait_until

SHARDS = Shards(3)

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def sharded(
    stores: Stores, migrated_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ValkeyStack]:
    """Our services with three shards on a Valkey of their own; each test leaves them running."""
    environment = {"SHARDS": "3", "NUMBERING_PROCESSES": "2"}
    with (
        own_database(stores, migrated_template) as url,
        ValkeyStack(tmp_path_factory.mktemp("sharded"), url, **environment) as stack,
    ):
        yield stack


def test_processes_and_redis_that_are_killed_lose_nothing(
    sharded: ValkeyStack, chance: random.Random
) -> None:
    with loaded_shards(sharded, chance) as loads:
        sharded.kill_part("crud_service.worker")
        loads.wait_for_more(sharded.output)
        sharded.valkey.restart(chance.uniform(0, 0.5))
        loads.wait_for_more(sharded.output)
        sharded.kill_part("numbering_service")
        loads.wait_for_more(sharded.output)
    tags = tuple(shard.tag.encode() for shard in SHARDS)
    known = (b"_kombu", b"unacked", *tags, *(b"lock:" + tag for tag in tags))

    def others() -> list[bytes]:
        """Return keys of no shard; a queue of the broker is one for as long as a task is in it."""
        return [name for name in sharded.valkey.client.scan_iter() if not name.startswith(known)]

    wait_until(lambda: others() == [], 60, lambda: str(others()))


def test_workers_share_the_shards_and_take_over_from_each_other(
    sharded: ValkeyStack, chance: random.Random
) -> None:
    def holders() -> set[bytes]:
        names = [shard.key(keys.LEASE_PERSIST) for shard in SHARDS]
        return set(sharded.valkey.client.mget(names))

    with loaded_shards(sharded, chance) as loads:
        second = sharded.run("crud_service.worker", "second worker")
        # Three shards, two workers: each has one or two of them.
        wait_until(lambda: None not in holders() and len(holders()) == 2, 60, sharded.output)
        loads.wait_for_more(sharded.output)
        second.end(signal.SIGKILL)
        wait_until(lambda: None not in holders() and len(holders()) == 1, 60, sharded.output)
        loads.wait_for_more(sharded.output)


def test_sequences_that_are_lost_continue_in_each_shard(
    sharded: ValkeyStack, chance: random.Random
) -> None:
    client = sharded.valkey.client
    with loaded_shards(sharded, chance) as loads:
        for _ in range(3):
            for name in client.scan_iter(match="*sequence:*"):
                client.delete(name)
            loads.wait_for_more(sharded.output)


def test_a_shard_whose_persister_stands_still_holds_up_no_other(sharded: ValkeyStack) -> None:
    stuck, fine, _ = paths = applications_of_all_shards(sharded)
    with httpx.Client(timeout=15, **PLAIN_HTTP) as client:
        for path in paths:
            post(client, sharded, f"{path}/chats")
        wait_until_stored(sharded)
        lease = SHARDS[0].key(keys.LEASE_PERSIST)
        # Another holder, as a worker that is cut off from PostgreSQL would be. Workers shorten a
        # lease that lasts longer than theirs, but not one without an end.
        noticed = losses(sharded)
        sharded.valkey.client.set(lease, "someone else")
        # A worker that finds out while it stores says nothing.
        eventually(lambda: losses(sharded), lambda it: it > noticed, 15)
        for path in (stuck, fine):
            post(client, sharded, f"{path}/chats/1/messages", {"body": "hello"})
        found = f"{sharded.crud_url}{fine}/chats/1/messages/1"
        wait_until(lambda: client.get(found).status_code == 200, 60, sharded.output)
        answer = client.get(f"{sharded.crud_url}{stuck}/chats/1/messages/1")
        assert answer.json()["code"] == "not_stored_yet"
        sharded.valkey.client.delete(lease)
        wait_until_stored(sharded)
        for path in (stuck, fine):
            assert client.get(f"{sharded.crud_url}{path}/chats/1").json()["message_count"] == 1


def losses(sharded: ValkeyStack) -> int:
    """Return how many leases the worker has noticed to be lost."""
    return sharded.parts["crud_service.worker"].log.read_bytes().count(b"lease lost")


def test_a_rotation_into_another_shard_repeats_no_number(sharded: ValkeyStack) -> None:
    [path, *_] = applications_of_all_shards(sharded)
    seen = {SHARDS.number_of(path.rpartition("/")[2])}
    with httpx.Client(timeout=15, **PLAIN_HTTP) as client:
        for number in range(1, 9):
            assert post(client, sharded, f"{path}/chats")["number"] == number
            answer = rotate(client, f"{sharded.crud_url}{path}/rotate", key=str(number))
            assert answer.status_code == 200, answer.text
            path = f"/applications/{answer.json()['access_token']}"
            seen.add(SHARDS.number_of(path.rpartition("/")[2]))
        wait_until_stored(sharded)
        assert client.get(f"{sharded.crud_url}{path}").json()["chat_count"] == 8
    assert len(seen) > 1


def rotate(client: httpx.Client, url: str, key: str) -> httpx.Response:
    """Rotate a token; repeat it while what is accepted waits too long to be stored."""

    def answer() -> httpx.Response:
        return client.post(url, headers={"Idempotency-Key": key})

    return eventually(answer, lambda given: given.status_code != 503, 60)


def test_deletions_are_known_in_each_shard(sharded: ValkeyStack) -> None:
    with httpx.Client(timeout=15, **PLAIN_HTTP) as client:
        for path in applications_of_all_shards(sharded):
            post(client, sharded, f"{path}/chats")
            post(client, sharded, f"{path}/chats")
            wait_until_stored(sharded)
            assert client.delete(f"{sharded.crud_url}{path}/chats/1").status_code == 204
            gone = client.post(
                f"{sharded.numbering_url}{path}/chats/1/messages", json={"body": "x"}
            )
            assert gone.json()["code"] == "chat_deleted"
            assert client.delete(f"{sharded.crud_url}{path}").status_code == 202
            gone = client.post(f"{sharded.numbering_url}{path}/chats")
            assert gone.status_code == 404


def test_limits_are_copied_to_each_shard(sharded: ValkeyStack) -> None:
    tokens = [path.rpartition("/")[2] for path in applications_of_all_shards(sharded)]
    names = ", ".join(f"'{token}'" for token in tokens)
    limited = f"UPDATE applications SET rate_limit = 7 WHERE access_token IN ({names}) RETURNING 1"
    assert len(rows(sharded, limited)) == len(tokens)
    client = sharded.valkey.client
    client.delete(*(shard.key(keys.LIMITS_SYNCHRONISED) for shard in SHARDS))

    def copied() -> list[bytes | None]:
        return [client.hget(SHARDS.of(token).key(keys.LIMITS), token) for token in tokens]

    wait_until(lambda: copied() == [b"7 7"] * len(tokens), 60, sharded.output)
    limits = [name for shard in SHARDS for name in client.hkeys(shard.key(keys.LIMITS))]
    assert [limits.count(token.encode()) for token in tokens] == [1] * len(tokens)


def post(
    client: httpx.Client, stack: ValkeyStack, path: str, fields: dict[str, str] | None = None
) -> dict[str, int]:
    answer = client.post(stack.numbering_url + path, json=fields or {})
    assert answer.status_code == 201, answer.text
    found: dict[str, int] = answer.json()
    return found
