"""Three shards on a cluster of Valkey, or of Redis: slots move, primaries are lost, under load."""

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from contract import keys
from contract.shards import Shards
from local_stack.applications import ROOT
from local_stack.ports import PLAIN_HTTP
from local_stack.stack import Stores
from tests.conftest import SEED, own_database
from tests.fault.conftest import ROUNDS
from tests.fault.rig.cluster_stack import ClusterStack, clustered
from tests.fault.rig.many_loads import applications_of_all_shards, loaded_shards
from tests.polling import wait_until

SHARDS = Shards(3)

REDIS = shutil.which("redis-server")
# Redis itself, of any version with what the scripts need: 7.0.
NO_REDIS = pytest.mark.skipif(not REDIS, reason="NO REDIS: redis-server is not installed")
PROGRAMS = [pytest.param("", id="valkey"), pytest.param(REDIS, id="redis", marks=NO_REDIS)]
# One of the programs in each round has replicas, and the other one has none.
SHUFFLED = random.Random(SEED).sample(PROGRAMS, len(PROGRAMS)) if REDIS else PROGRAMS
WITH_REPLICAS = SHUFFLED[:ROUNDS]
WITHOUT_REPLICAS = SHUFFLED[-ROUNDS:] if REDIS else PROGRAMS

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module", params=WITHOUT_REPLICAS)
def three_primaries(
    request: pytest.FixtureRequest,
    stores: Stores,
    migrated_template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[ClusterStack]:
    """A stack on three primaries without replicas, each with a shard; tests leave it like that."""
    settings = {"program": request.param, "cluster-require-full-coverage": "no"}
    with (
        own_database(stores, migrated_template) as url,
        clustered(tmp_path_factory.mktemp("primaries"), url, **settings) as stack,
    ):
        yield stack


def test_each_primary_has_one_of_three_shards(
    three_primaries: ClusterStack, chance: random.Random
) -> None:
    stack, cluster = three_primaries, three_primaries.cluster
    with loaded_shards(stack, chance) as loads:
        stack.kill_part("crud_service.worker")
        loads.wait_for_more(stack.output)
    assert loads.errors == 0, loads.refusals()
    servers = [cluster.server_of(shard) for shard in SHARDS]
    assert servers == cluster.servers
    for shard, server in zip(SHARDS, servers, strict=True):
        assert all(shard.tag.encode() in name for name in server.client.scan_iter()), (
            "keys of other shards"
        )
        lease = shard.key(keys.LEASE_PERSIST)
        wait_until(lambda: bool(server.client.exists(lease)), 60, stack.output)  # noqa: B023


def test_slots_that_move_are_waited_out(
    three_primaries: ClusterStack, chance: random.Random
) -> None:
    stack, cluster = three_primaries, three_primaries.cluster
    first, second, third = cluster.servers
    a, b, _ = SHARDS
    with loaded_shards(stack, chance) as loads:
        # What is asked for meanwhile is answered ASK, TRYAGAIN and at last MOVED.
        for shard, target in ((a, second), (b, third), (a, third), (b, second), (a, first)):
            cluster.move(shard, target, pause=lambda: time.sleep(chance.uniform(0, 0.1)))
            loads.wait_for_more(stack.output)
            assert cluster.server_of(shard) is target
    assert loads.errors == 0, loads.refusals()


@pytest.mark.parametrize("program", WITH_REPLICAS)
def test_primaries_that_are_lost_are_replaced_by_their_replicas(
    tmp_path: Path, migrated_database_url: str, chance: random.Random, program: str
) -> None:
    with clustered(tmp_path, migrated_database_url, replicas=3, program=program) as stack:
        cluster = stack.cluster
        with loaded_shards(stack, chance) as loads:
            for shard in SHARDS:
                lost = cluster.server_of(shard)
                cluster.lose(lost)
                if chance.random() < 0.5:
                    stack.kill_part("crud_service.worker")
                wait_until(lambda: cluster.server_of(shard) is not lost, 60, stack.output)  # noqa: B023
                lost.start()
                wait_until(cluster.is_ready, 60, stack.output)
                loads.wait_for_more(stack.output)


def test_a_primary_without_a_replica_takes_only_its_own_shard_with_it(
    three_primaries: ClusterStack,
) -> None:
    """Both services stay ready, or else no instance of them would be left for the other shards."""
    stack, cluster = three_primaries, three_primaries.cluster
    paths = applications_of_all_shards(stack)
    cluster.servers[1].kill()
    wait_until(lambda: readiness_of(stack) == [(200, "degraded", [1])] * 2, 60, stack.output)
    for shard, path in enumerate(paths):
        answer = httpx.post(f"{stack.numbering_url}{path}/chats", timeout=30, **PLAIN_HTTP)
        assert answer.status_code == (503 if shard == 1 else 201), answer.text
    for path in (paths[0], paths[2]):
        chat = f"{stack.crud_url}{path}/chats/1"
        wait_until(lambda chat=chat: is_there(chat), 60, stack.output)
    cluster.servers[1].start()
    wait_until(lambda: readiness_of(stack) == [(200, "ok", None)] * 2, 60, stack.output)


def is_there(url: str) -> bool:
    return httpx.get(url, timeout=30, **PLAIN_HTTP).status_code == 200


def readiness_of(stack: ClusterStack) -> list[tuple[int, str, list[int] | None]]:
    """Return what each service answers, and which shards it says are unavailable."""
    answers = [
        httpx.get(f"{url}/health/ready", timeout=15, **PLAIN_HTTP)
        for url in (stack.crud_url, stack.numbering_url)
    ]
    return [
        (
            answer.status_code,
            answer.json()["status"],
            answer.json()["dependencies"]["redis"].get("unavailable_shards"),
        )
        for answer in answers
    ]


def test_what_a_cluster_needs_is_demanded_at_the_start(three_primaries: ClusterStack) -> None:
    environment = three_primaries.environment
    for package in ("crud_service", "crud_service.worker"):
        refused = run_to_its_end(package, {**environment, "BROKER_URL": ""})
        assert refused.returncode == 1
        assert "set BROKER_URL to another Redis" in refused.stderr
    unset = {**environment, "SHARDS": "1", "DATABASE_URL": "postgresql://127.0.0.1:1/x"}
    refused = run_to_its_end("crud_service", unset)
    assert "SHARDS of at least 2" in refused.stderr


def run_to_its_end(package: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", package],
        env={**os.environ, **environment},
        cwd=ROOT,
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )
