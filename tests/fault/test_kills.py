"""kill -9 of each process, and of two at once, under load at a random instant."""

import random
import time
from itertools import combinations

import pytest

from tests.conftest import SEED
from tests.fault.conftest import ROUNDS, UnderLoad
from tests.fault.rig.linked_stack import LinkedStack
from tests.fault.rig.processes import kill_at_once, serving
from tests.fault.rig.search import search, searched_for
from tests.fault.rig.verify import readiness
from tests.polling import wait_until

pytestmark = pytest.mark.timeout(240)

PARTS = ("numbering", "worker", "valkey", "postgres")
PAIRS = list(combinations(PARTS, 2))
# Elasticsearch takes half a minute of a processor to start again: one pair with it in each round.
WITH_ELASTICSEARCH = random.Random(SEED).sample(PARTS, min(ROUNDS, len(PARTS)))
# Elasticsearch needs longer than this to start.
SEARCHED_SECONDS = 3.0
# Without these a creation is answered all the same.
NOT_NEEDED_TO_CREATE = ("worker", "postgres", "crud")


@pytest.mark.parametrize("name", ["numbering", "worker", "postgres", "crud"])
def test_a_killed_process_loses_nothing(
    linked: LinkedStack, under_load: UnderLoad, name: str
) -> None:
    with under_load(f"kill -9 {name}") as load:
        kill_at_once(linked, name)
        time.sleep(1)
    if name in NOT_NEEDED_TO_CREATE:
        assert load.errors == 0, load.figures.refusals


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_a_killed_pair_loses_nothing(
    linked: LinkedStack, under_load: UnderLoad, pair: tuple[str, str]
) -> None:
    with under_load(f"kill -9 {' and '.join(pair)}"):
        kill_at_once(linked, *pair)
        time.sleep(1)


@pytest.mark.parametrize("name", WITH_ELASTICSEARCH)
def test_elasticsearch_killed_with_another_process_leaves_searches_to_postgresql(
    linked: LinkedStack, under_load: UnderLoad, name: str
) -> None:
    with under_load(f"kill -9 {name} and elasticsearch") as load:
        assert search(linked, load.application) == "elasticsearch"
        kill_at_once(linked, name, "elasticsearch")
        with load.slowed_down():
            wait_until(lambda: readiness(linked.crud_url) == 200, 60, linked.output)
            assert "postgresql" in searched_for(SEARCHED_SECONDS, linked, load.application)
    if name in NOT_NEEDED_TO_CREATE:
        assert load.errors == 0, load.figures.refusals


def test_valkey_killed_repeatedly_costs_no_client_an_error(
    linked: LinkedStack, under_load: UnderLoad, chance: random.Random
) -> None:
    with under_load("kill -9 valkey, three times") as load:
        for _ in range(3):
            time.sleep(chance.random() * 2)
            kill_at_once(linked, "valkey")
        time.sleep(2)
    assert load.errors == 0, load.figures.refusals


def test_one_of_two_numbering_processes_killed_loses_nothing(
    linked: LinkedStack, under_load: UnderLoad, chance: random.Random
) -> None:
    with under_load("kill -9 one of two numbering processes"):
        chance.choice(serving(linked)).kill()
        time.sleep(2)
