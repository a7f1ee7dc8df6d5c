"""Clients of several applications at once, at least one in each shard."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from bench.running_stack import RunningStack
from contract.shards import Shards
from tests.fault.conftest import application
from tests.fault.rig.load import FIRST_CHATS, Load
from tests.fault.rig.report import Line
from tests.fault.rig.requests import Fate
from tests.fault.rig.verify import verify, wait_until_chat_is_stored, wait_until_stored
from tests.polling import wait_until

CLIENTS = 6


class Loads:
    """The loads of all applications, as one."""

    def __init__(self, loads: list[Load]) -> None:
        self.loads = loads

    @property
    def answered(self) -> int:
        return sum(load.answered for load in self.loads)

    @property
    def least(self) -> int:
        """How many creations were answered in the application that has the fewest."""
        return min(load.answered for load in self.loads)

    def wait_for_more(self, explain: Callable[[], str]) -> None:
        """Wait until each application was answered some more creations."""
        so_far = self.least
        wait_until(lambda: self.least > so_far + 20, 60, explain)

    @contextmanager
    def slowed_down(self) -> Iterator[None]:
        """Send a fifth of the requests, while something lasts for long."""
        with ExitStack() as slowed:
            for load in self.loads:
                slowed.enter_context(load.slowed_down())
            yield

    @property
    def errors(self) -> int:
        return sum(load.errors for load in self.loads)

    def refusals(self) -> str:
        return str([load.figures.refusals for load in self.loads])

    def line(self, fault: str, equal_after: float | None) -> Line:
        """Return a fault's line in the table, once nothing answered was found missing."""
        figures = [load.figures for load in self.loads]
        answered, refused, unknown = (sum(each.fates[fate] for each in figures) for fate in Fate)
        pause = max(each.longest_pause for each in figures)
        return Line(fault, answered, refused, unknown, 0, pause, equal_after)


@contextmanager
def loaded_shards(stack: RunningStack, chance: random.Random) -> Iterator[Loads]:
    """Load applications of all shards around a fault; then nothing answered may be missing."""
    wait_until_stored(stack)
    paths = applications_of_all_shards(stack)
    loads = [
        Load(stack.numbering_port, path, chance.getrandbits(32), clients=CLIENTS) for path in paths
    ]
    with ExitStack() as running:
        for load in loads:
            running.enter_context(load)
        for load in loads:
            load.wait_until_at_work(stack.output)
            for number in range(1, FIRST_CHATS + 1):
                wait_until_chat_is_stored(stack, load.application, number)
        time.sleep(1)
        yield Loads(loads)
        time.sleep(1)
    wait_until_stored(stack)
    assert [verify(stack, load) for load in loads] == [0] * len(loads)


def applications_of_all_shards(stack: RunningStack) -> list[str]:
    """Return the paths of new applications, one in each shard."""
    shards = Shards(int(stack.environment["SHARDS"]))
    found: dict[int, str] = {}
    while len(found) < len(shards):
        path = application(stack)
        found.setdefault(shards.number_of(path.rpartition("/")[2]), path)
    return [found[shard.number] for shard in shards]
