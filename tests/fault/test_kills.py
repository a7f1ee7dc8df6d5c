"""kill -9 of each process, and of two at once, under load at a random instant."""

import random
import time
from itertools import combinations

import pytest

from tests.conftest import SEED
from tests.fault.conftest import ROUNDS, UnderLoad
from tests.fault.rig.linked_stack import LinkedStack
from tests.fault.rig.processes import kill_at_once, serving

pytestmark = pytest.mark.timeout(240)

PARTS = ("numbering", "worker", "valkey", "postgres")
PAIRS = list(combinations(PARTS, 2))
# Elasticsearch takes half a minute of a processor to start again: one pair with it in each round.
WITH_ELASTICSEARCH = [(name, "elasticsearch") for name in PARTS]
PAIRS += random.Random(SEED).sample(WITH_ELASTICSEARCH, min(ROUNDS, len(WITH_ELASTICSEARCH)))
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
