"""Every follower sees every number once and in order, and ends with the texts of the table.

Each process in turn is killed, frozen and restarted, and each connection cut, while 24 clients
write. Followers do what a browser's EventSource does, and nothing else.
"""

import random
import time

import psutil
import pytest

from tests.fault.rig.linked_stack import LinkedStack
from tests.fault.rig.processes import STOP_SECONDS, frozen, kill_at_once, stop_in_order, tree
from tests.links import Link
from tests.live.conftest import Following
from tests.live.swarm import Swarm
from tests.live.writers import Writers
from tests.polling import wait_until

pytestmark = pytest.mark.timeout(240)

FROZEN_SECONDS = 1.5
CUT_SECONDS = 1.0
BETWEEN_SECONDS = 0.5
RESTARTED_SECONDS = BACK_SECONDS = 30.0
PROCESSES = ("crud", "numbering", "worker", "valkey", "postgres")
PAIRS = (
    ("crud", "valkey"),
    ("crud", "postgres"),
    ("worker", "valkey"),
    ("worker", "postgres"),
    ("numbering", "valkey"),
    ("numbering", "crud"),
)


@pytest.mark.parametrize("name", PROCESSES)
def test_a_process_that_is_killed_frozen_or_restarted_costs_no_follower_an_event(
    linked: LinkedStack, swarm: Swarm, following: Following, chance: random.Random, name: str
) -> None:
    with following(f"{name} killed, frozen, restarted"):
        kill_at_once(linked, name)
        time.sleep(chance.random())
        swarm.wait_until_back(BACK_SECONDS)
        with frozen(linked, name):
            time.sleep(FROZEN_SECONDS)
        time.sleep(chance.random())
        assert stop_in_order(linked, name) < STOP_SECONDS
        swarm.wait_until_back(BACK_SECONDS)


@pytest.mark.parametrize("child", [0, 1])
def test_a_child_of_the_worker_killed_or_frozen_costs_no_follower_an_event(
    linked: LinkedStack, following: Following, child: int
) -> None:
    with following(f"child {child} of the worker frozen, killed"):
        process = children(linked)[child]
        process.suspend()
        time.sleep(FROZEN_SECONDS)
        process.resume()
        process.kill()
        wait_until(
            lambda: len(children(linked)) == 2 and process not in children(linked),
            RESTARTED_SECONDS,
        )


def children(stack: LinkedStack) -> list[psutil.Process]:
    """The children of the worker, in the order in which they were started."""
    return sorted(tree(stack.pid("worker"))[1:], key=psutil.Process.create_time)


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_a_connection_that_is_cut_costs_no_follower_an_event(
    linked: LinkedStack, following: Following, pair: tuple[str, str]
) -> None:
    link = linked.link(*pair)
    with following(f"{' to '.join(pair)} cut, silent"):
        link.refuse_then_reset(CUT_SECONDS, BETWEEN_SECONDS)
        link.half_open()
        link.silence()
        time.sleep(CUT_SECONDS)
        link.heal()


def test_connections_of_followers_that_are_cut_cost_them_no_event(
    following: Following, link_to_clients: Link
) -> None:
    with following("followers to crud cut"):
        link_to_clients.refuse_then_reset(CUT_SECONDS, BETWEEN_SECONDS)
        link_to_clients.refuse()
        time.sleep(CUT_SECONDS)
        link_to_clients.heal()


def test_followers_saw_everything_that_can_happen(swarm: Swarm, writers: Writers) -> None:
    """What the tests above compared was not nothing."""
    seen = swarm.look()
    assert seen["resumed"] > swarm.plan.followers / 10
    assert {"ready", "message.created", "message.updated", "chat.changed"} <= seen["events"].keys()
    assert "reset" not in seen["events"]
    assert writers.created["answered"] > 100
    assert writers.edited[200] > 10
