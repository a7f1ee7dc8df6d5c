"""Sequences are deleted while numbers are handed out, with and without other faults."""

import random
import time

import pytest

from tests.fault.conftest import UnderLoad
from tests.fault.rig.linked_stack import LinkedStack
from tests.fault.rig.processes import kill_at_once
from tests.fault.rig.sequences import delete_sequences
from tests.polling import wait_until

pytestmark = pytest.mark.timeout(240)

TIMES = 12


def test_deleted_sequences_continue_where_they_were(
    linked: LinkedStack, under_load: UnderLoad, chance: random.Random
) -> None:
    with under_load("sequences deleted at random"):
        for _ in range(TIMES):
            # The load comes in bursts: between two of them there may be none to delete.
            wait_until(lambda: delete_sequences(linked, share=0.5, chance=chance) > 0, 30)
            time.sleep(chance.uniform(0.05, 0.4))


@pytest.mark.parametrize("name", ["worker", "postgres", "valkey", "numbering"])
def test_deleted_sequences_continue_when_a_process_is_killed_too(
    linked: LinkedStack, under_load: UnderLoad, chance: random.Random, name: str
) -> None:
    with under_load(f"sequences deleted, kill -9 {name}"):
        delete_sequences(linked, share=0.7, chance=chance)
        time.sleep(chance.uniform(0, 0.1))
        kill_at_once(linked, name)
        if name != "valkey":
            delete_sequences(linked, share=0.7, chance=chance)
        time.sleep(1)
