"""A full disk for some seconds: Valkey's, PostgreSQL's, and that of all logs."""

import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from bench.running_stack import RunningStack
from tests.conftest import SESSION
from tests.fault.conftest import LoadOn
from tests.fault.rig.small_disk import SmallDisk, small_disk
from tests.polling import wait_until

pytestmark = pytest.mark.timeout(300)

FULL_SECONDS = 4.0
Disks = dict[str, SmallDisk]


@pytest.fixture(scope="module")
def disks() -> Iterator[Disks]:
    directory = SESSION / "disks"
    with ExitStack() as mounted:
        names = ("valkey", "postgres", "log")
        yield {name: mounted.enter_context(small_disk(directory / name)) for name in names}


@pytest.fixture(scope="module")
def stack_on_disks(disks: Disks) -> Iterator[RunningStack]:
    with RunningStack(SESSION / "disks", environment={"WITHOUT_ELASTICSEARCH": "1"}) as running:
        yield running


def test_a_full_disk_of_valkey_refuses_creations_and_loses_none(
    stack_on_disks: RunningStack, disks: Disks, load_on: LoadOn
) -> None:
    with load_on(stack_on_disks, "disk of valkey full", None) as load:
        disks["valkey"].fill()
        wait_until(lambda: load.errors > 0, 60)
        disks["valkey"].make_room()
        before = load.answered
        wait_until(lambda: load.answered > before + 100, 60)


def test_a_full_disk_of_postgresql_costs_no_creation(
    stack_on_disks: RunningStack, disks: Disks, load_on: LoadOn
) -> None:
    with load_on(stack_on_disks, "disk of postgres full", None) as load:
        disks["postgres"].fill()
        time.sleep(FULL_SECONDS)
        disks["postgres"].make_room()
    assert load.errors == 0, load.figures.refusals


def test_a_full_disk_of_the_logs_costs_only_log_lines(
    stack_on_disks: RunningStack, disks: Disks, load_on: LoadOn
) -> None:
    log = stack_on_disks.layout.logs / "numbering.log"
    with load_on(stack_on_disks, "disk of the logs full", None) as load:
        disks["log"].fill()
        full_size = log.stat().st_size
        # Their lines need more room than the last block has left.
        load.wait_for_more(100, stack_on_disks.output)
        time.sleep(FULL_SECONDS)
        disks["log"].make_room()
        wait_until(lambda: log.stat().st_size > full_size + 10_000, 60)
    assert load.errors == 0, load.figures.refusals
    assert "log lines dropped" in log.read_text()
