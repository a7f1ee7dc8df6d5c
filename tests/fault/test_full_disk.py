"""A disk that is full for some seconds, below Valkey's log and below PostgreSQL."""

import random
import time
from collections.abc import Iterator

import pytest

from local_stack.client import RunningStack, wait_until
from tests.conftest import SESSION
from tests.fault.conftest import loaded
from tests.fault.small_disk import SmallDisk, small_disk

pytestmark = pytest.mark.timeout(300)

FULL_SECONDS = 4.0
Disks = dict[str, SmallDisk]


@pytest.fixture(scope="module")
def disks() -> Iterator[Disks]:
    directory = SESSION / "disks"
    with small_disk(directory / "valkey") as one, small_disk(directory / "postgres") as other:
        yield {"valkey": one, "postgres": other}


@pytest.fixture(scope="module")
def stack_on_disks(disks: Disks) -> Iterator[RunningStack]:
    with RunningStack(SESSION / "disks", environment={"WITHOUT_ELASTICSEARCH": "1"}) as running:
        yield running


def test_a_full_disk_below_valkey_refuses_creations_and_loses_none(
    stack_on_disks: RunningStack, disks: Disks, chance: random.Random
) -> None:
    with loaded(stack_on_disks, "disk of valkey full", chance, None) as load:
        disks["valkey"].fill()
        wait_until(lambda: load.errors > 0, 60, "nothing was refused")
        disks["valkey"].make_room()
        before = load.answered
        wait_until(lambda: load.answered > before + 100, 60, "creations do not go on")


def test_a_full_disk_below_postgresql_costs_no_creation(
    stack_on_disks: RunningStack, disks: Disks, chance: random.Random
) -> None:
    with loaded(stack_on_disks, "disk of postgres full", chance, None) as load:
        disks["postgres"].fill()
        time.sleep(FULL_SECONDS)
        disks["postgres"].make_room()
    assert load.errors == 0, load.figures.refusals
