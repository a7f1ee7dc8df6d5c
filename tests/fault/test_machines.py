"""Whole machines are lost under load, on a stack of which every part has a second one.

A cluster with three primaries and a replica each, PostgreSQL with a synchronous standby, and two of
each of our processes.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import astuple

import pytest

from contract.shards import Shards
from tests.conftest import SEED
from tests.fault.conftest import RecordProperty
from tests.fault.rig.index_check import IndexCheck
from tests.fault.rig.linked_stack import LinkedStack
from tests.fault.rig.long_polls import LongPolls
from tests.fault.rig.machine_stack import MachineStack
from tests.fault.rig.many_loads import Loads, loaded_shards
from tests.fault.rig.verify import rows
from tests.integration.numbering.surroundings import Valkey
from tests.links import Links
from tests.live.swarm import Plan, Swarm

SHARDS = Shards(3)
FOLLOWERS = 48
HIGHEST = """
SELECT '/applications/' || access_token || '/chats/' || c.number, highest_number
FROM chats c JOIN applications a ON a.id = application_id
"""

pytestmark = pytest.mark.timeout(900)

UnderLoad = Callable[[str], AbstractContextManager[Loads]]


@pytest.fixture(scope="module")
def machines(
    linked: LinkedStack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MachineStack]:
    """The stack, on the Elasticsearch of the other faults."""
    url = linked.environment["ELASTICSEARCH_URL"]
    with Links() as links, MachineStack(tmp_path_factory.mktemp("machines"), links, url) as stack:
        yield stack


@pytest.fixture(scope="module")
def checking(machines: MachineStack) -> Iterator[IndexCheck]:
    with IndexCheck(machines) as check:
        yield check


@pytest.fixture
def under_load(
    machines: MachineStack,
    checking: IndexCheck,
    chance: random.Random,
    record_property: RecordProperty,
) -> UnderLoad:
    """Load applications of all shards around a fault, at whose end everything is compared."""

    @contextmanager
    def loaded(fault: str) -> Iterator[Loads]:
        with loaded_shards(machines, chance) as loads:
            yield loads
        equal_after = checking.wait_until_equal()
        record_property("fault", astuple(loads.line(fault, equal_after)))

    return loaded


@contextmanager
def followed(machines: MachineStack, loads: Loads) -> Iterator[None]:
    """Follow chats of all applications by streams and by lists that wait, to their ends."""
    chats = {each.application: first_chats(each.application) for each in loads.loads}
    every = [chat for made in chats.values() for chat in made]
    port = int(machines.crud_url.rpartition(":")[2])
    plan = Plan(port, port, machines.environment["DATABASE_URL"], FOLLOWERS, SEED, chats)
    with Swarm(plan) as swarm, LongPolls(machines.crud_url, every) as polls:
        swarm.wait_until_open(60)
        yield
        swarm.wait_until_equal(60)
        highest = dict(rows(machines, HIGHEST))
        for chat in every:
            polls.wait_until_at(chat, highest[chat], 60)
        assert (swarm.look()["complaints"], polls.complaints) == ([], [])


def first_chats(application: str) -> list[str]:
    return [f"{application}/chats/{number}" for number in (1, 2)]


def a_primary(machines: MachineStack, chance: random.Random) -> Valkey:
    """Return one that has a shard: slots may have moved away from others."""
    return machines.cluster.server_of(chance.choice(list(SHARDS)))


def lose_stores(machines: MachineStack, loads: Loads, chance: random.Random) -> None:
    with loads.slowed_down():
        machines.lose_stores(a_primary(machines, chance), chance)
    loads.wait_for_more(machines.output)


def lose_services(machines: MachineStack, loads: Loads, chance: random.Random) -> None:
    machines.lose_services(chance, lambda: loads.wait_for_more(machines.output))
    loads.wait_for_more(machines.output)


def cut_off(machines: MachineStack, loads: Loads, chance: random.Random) -> None:
    with loads.slowed_down():
        machines.cut_off(a_primary(machines, chance), chance)
    loads.wait_for_more(machines.output)


def lose_stores_while_slots_move(
    machines: MachineStack, loads: Loads, chance: random.Random
) -> None:
    lost = a_primary(machines, chance)
    with machines.moving_slots(lost, chance):
        with loads.slowed_down():
            machines.lose_stores(lost, chance)
        loads.wait_for_more(machines.output)


def cut_off_while_slots_move(machines: MachineStack, loads: Loads, chance: random.Random) -> None:
    lost = a_primary(machines, chance)
    with machines.moving_slots(lost, chance):
        with loads.slowed_down():
            machines.cut_off(lost, chance)
        loads.wait_for_more(machines.output)


FAULTS = [
    lose_stores,
    lose_services,
    cut_off,
    lose_stores_while_slots_move,
    cut_off_while_slots_move,
]


def test_machines_lost_in_any_order_take_nothing_with_them(
    machines: MachineStack, under_load: UnderLoad, chance: random.Random
) -> None:
    """What one of them takes is missing at the end; each alone would take a load of its own."""
    with ExitStack() as following, under_load("all of it, in any order") as loads:
        following.enter_context(followed(machines, loads))
        for fault in chance.sample(FAULTS, len(FAULTS)):
            fault(machines, loads, chance)
