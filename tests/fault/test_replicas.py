"""The primary of Valkey is lost for good, or cut off, and its replica takes over.

REPLICA_KILLS    how many primaries are killed in a row; 5
"""

import json
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from contract.keys import ACCEPTED
from local_stack.stack import Stores
from tests.conftest import own_database
from tests.fault.conftest import LoadOn
from tests.fault.rig.replicated_stack import ReplicatedStack
from tests.integration.numbering.surroundings import Valkey, request
from tests.links import Links
from tests.polling import wait_until

KILLS = int(os.environ.get("REPLICA_KILLS") or 5)
JSON = {"Content-Type": "application/json"}

pytestmark = pytest.mark.timeout(120 + 30 * KILLS)


@pytest.fixture(scope="module")
def replicated(
    stores: Stores, migrated_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ReplicatedStack]:
    """The stack; each test leaves it with a primary and a replica that is in step."""
    with (
        Links() as links,
        own_database(stores, migrated_template) as url,
        ReplicatedStack(tmp_path_factory.mktemp("replicated"), links, url) as stack,
    ):
        yield stack


def test_primaries_killed_at_random_and_replaced_lose_nothing(
    replicated: ReplicatedStack, load_on: LoadOn, chance: random.Random
) -> None:
    with load_on(replicated, f"kill -9 primary, replica promoted, {KILLS} times", None) as load:
        for _ in range(KILLS):
            replicated.lose_primary(chance)
            load.wait_for_more(50, replicated.output)
            time.sleep(chance.uniform(0, 0.5))


def test_roles_that_are_exchanged_cost_no_client_an_error(
    replicated: ReplicatedStack, load_on: LoadOn
) -> None:
    with load_on(replicated, "primary and replica exchanged, twice", None) as load:
        for _ in range(2):
            replicated.switch()
            load.wait_for_more(50, replicated.output)
    assert load.errors == 0, load.figures.refusals


def test_a_primary_that_is_cut_off_answers_nothing_and_nothing_of_it_is_stored(
    replicated: ReplicatedStack, load_on: LoadOn
) -> None:
    """With it on its side of the partition: a numbering service and a worker."""
    beside = replicated.run_beside(replicated.primary.url)
    with load_on(replicated, "primary cut off, replica promoted", None) as load:
        wait_until(lambda: load.answered > 100, 60, replicated.output)
        replicated.cut_off_primary()
        cut_off = replicated.primary
        path = f"{load.application}/chats/1/messages"
        for number in range(3):
            reply = request(beside, "POST", path, body_of(f"cut off {number}"), JSON)
            assert reply.status == 503, reply.body
            assert "not known" in json.loads(reply.body)["detail"]
        time.sleep(3)  # the worker beside it looks at what it may not store
        assert {f"cut off {number}" for number in range(3)} <= bodies(cut_off.client)
        replicated.promote()
        replicated.address.heal()
        replicated.replication.heal()
        replicated.bring_back()
        answered = load.answered
        wait_until(lambda: load.answered > answered + 100, 60, replicated.output)
        # Beside the former primary, which is a replica by now, nothing is created either.
        assert request(beside, "POST", path, body_of("refused"), JSON).status == 503
        replicated.end_beside()
    with psycopg.connect(replicated.environment["DATABASE_URL"]) as connection:
        found = "SELECT body FROM messages WHERE body LIKE 'cut off %' OR body = 'refused'"
        assert connection.execute(found).fetchall() == []


def test_a_worker_leaves_a_broker_that_became_a_replica(
    tmp_path: Path, migrated_database_url: str
) -> None:
    """Its connections stay open, and what it persists is on another server."""
    directory = tmp_path / "keys"
    directory.mkdir()
    keys = Valkey(directory)
    with Links() as links:
        brokers = ReplicatedStack(tmp_path, links, migrated_database_url)
        brokers.environment |= {
            "BROKER_URL": brokers.environment["REDIS_URL"],
            "REDIS_URL": keys.url,
            "REPLICAS_TO_ACKNOWLEDGE": "0",
        }
        keys.start()
        try:
            with brokers:
                wait_until(lambda: consumers(brokers) == 2, 60, brokers.output)
                brokers.switch()
                wait_until(lambda: consumers(brokers) == 2, 30, brokers.output)
        finally:
            keys.client.close()
            keys.kill()


def consumers(brokers: ReplicatedStack) -> int:
    """How many children of the worker wait for tasks at the primary."""
    return sum(client["cmd"] == "brpop" for client in brokers.primary.client.client_list())


def body_of(text: str) -> bytes:
    return json.dumps({"body": text}).encode()


def bodies(client: "redis.Redis") -> set[str]:
    return {fields[b"body"].decode() for _entry_id, fields in client.xrange(ACCEPTED)}
