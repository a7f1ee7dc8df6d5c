"""Whatever valid content one application sends, its neighbours do not notice."""

import threading
import time
from collections.abc import Callable
from functools import partial
from urllib.parse import quote

import httpx
import pytest

from bench.running_stack import RunningStack
from local_stack.ports import PLAIN_HTTP
from tests.fault.rig.index_check import IndexCheck
from tests.polling import eventually
from tests.tenants.conftest import IS_FULL_SIZE, PATIENCE, SECONDS, neighbour
from tests.tenants.hostile import ACTS as REQUEST_ACTS
from tests.tenants.hostile import (
    LOREM,
    STORED_MESSAGES,
    Act,
    Hostile,
    new_application,
    repeat,
)
from tests.tenants.hostile_bulks import BULK_ACTS
from tests.tenants.hostile_streams import STREAM_ACTS
from tests.tenants.memory import Growth
from tests.tenants.neighbour import Measured

RecordProperty = Callable[[str, object], None]
ACTS: dict[str, Act] = {**REQUEST_ACTS, **BULK_ACTS, **STREAM_ACTS}
READABLE_SECONDS = 1.0
SEARCHABLE_SECONDS = 4.0
LIVE_SECONDS = 0.1
STALL_SECONDS = 5.0
# By how much a process may grow for what clients send or leave unread (docs/operations.md).
GROWTH_MEGABYTES = 256
# Until everything is stored and indexed, which has no bound of its own: minutes on two busy cores.
WAIT_SECONDS = 900.0

pytestmark = pytest.mark.timeout(1500)


# With stretched bounds eight acts at once find what each of them would, in a fraction of the time.
AT_ONCE = 1 if IS_FULL_SIZE else 8


def some_at_once(acts: list[str]) -> list[list[str]]:
    """Deal acts out to groups, neighbours in the list to different ones: they are alike."""
    groups = -(-len(acts) // AT_ONCE)
    return [acts[first::groups] for first in range(groups)]


@pytest.fixture(scope="module")
def long_chat(stack: RunningStack) -> str:
    """A chat of the hostile application with many of the longest messages."""
    tenant = Hostile(stack, new_application(stack), "")
    tenant.post(repeat(LOREM, STORED_MESSAGES), threading.Event())
    everything_is_there(stack, tenant)
    return tenant.chat


@pytest.mark.parametrize("acts", some_at_once(list(ACTS)), ids=" + ".join)
def test_one_application_at_its_worst_costs_the_neighbour_nothing(
    stack: RunningStack,
    long_chat: str,
    index_check: IndexCheck,
    record_property: RecordProperty,
    acts: list[str],
) -> None:
    suffer(stack, long_chat, acts, SECONDS, record_property)
    index_check.wait_until_equal(WAIT_SECONDS)


# Streams apart: their readers are this process, and leave two cores little time for the others.
# On a busy machine so many acts take the processors from each other, and hardly begin.
@pytest.mark.skipif(not IS_FULL_SIZE, reason="takes minutes: set TENANT_PATIENCE=1")
@pytest.mark.parametrize(
    "acts", [REQUEST_ACTS | BULK_ACTS, STREAM_ACTS], ids=["requests", "streams"]
)
def test_all_of_it_together_costs_the_neighbour_nothing(
    stack: RunningStack,
    long_chat: str,
    index_check: IndexCheck,
    record_property: RecordProperty,
    acts: dict[str, Act],
) -> None:
    # What all acts together leave takes ten times as long to index as they took.
    suffer(stack, long_chat, list(acts), 3 * SECONDS, record_property)
    index_check.wait_until_equal(WAIT_SECONDS)


def suffer(
    stack: RunningStack,
    long_chat: str,
    acts: list[str],
    seconds: float,
    record_property: RecordProperty,
) -> None:
    """Measure a neighbour during hostile acts of one application.

    Then check that nothing of either was lost.
    """
    path = long_chat.rpartition("/chats/")[0]
    tenants = [Hostile(stack, path, long_chat) for _ in acts]
    stop = threading.Event()
    threads = [
        threading.Thread(target=ACTS[act], args=(tenant, stop), name=act)
        for act, tenant in zip(acts, tenants, strict=True)
    ]
    with Growth(stack) as growth, neighbour(stack) as measured:
        for thread in threads:
            thread.start()
        time.sleep(seconds)
        stop.set()
        for thread in threads:
            thread.join()
    record_property("neighbour", worst(" + ".join(acts), measured, growth))
    hold(measured)
    grown = {name: size for name, size in growth.megabytes.items() if size > GROWTH_MEGABYTES}
    assert grown == {}, f"MB by which processes grew: {growth.megabytes}"
    for tenant in tenants:
        everything_is_there(stack, tenant)


def worst(act: str, measured: Measured, growth: Growth) -> str:
    """Return a line with the worst of each."""
    times = (
        measured.readable,
        measured.searchable,
        measured.live_crud,
        measured.live_numbering,
    )
    line = "readable {:.3f} s, searchable {:.2f} s, live {:.3f} and {:.3f} s"
    grown = max(growth.megabytes.values())
    return f"{line.format(*map(max, times))}, +{grown:.0f} MB: {act}"


def hold(measured: Measured) -> None:
    """Check the bounds, each against what was measured.

    A machine that is busy with something else may stand still for seconds: one time is
    spared there, and seconds are added to each bound.
    """
    assert measured.errors == []
    spared, stall = (0, 0.0) if PATIENCE == 1 else (1, STALL_SECONDS)
    for times, bound in (
        (measured.readable, READABLE_SECONDS),
        (measured.searchable, SEARCHABLE_SECONDS),
        (measured.live_crud, LIVE_SECONDS),
        (measured.live_numbering, LIVE_SECONDS),
    ):
        slowest = sorted(times, reverse=True)
        assert all(each < PATIENCE * bound + stall for each in slowest[spared:]), slowest[:5]


def everything_is_there(stack: RunningStack, tenant: Hostile) -> None:
    """Check that everything accepted from the hostile application is stored and found."""
    with httpx.Client(base_url=stack.crud_url, timeout=60, **PLAIN_HTTP) as client:
        for chat, accepted in tenant.accepted.items():
            stored = eventually(partial(message_count, client, chat), accepted.__eq__, WAIT_SECONDS)
            assert stored == accepted
            last = client.get(f"{chat}/messages?limit=1&order=desc").json()[0]["body"]
            path = f"{chat}/messages/search?limit=1&keyword={quote(last[-12:].strip())}"
            assert eventually(partial(found, client, path), bool, WAIT_SECONDS)


def message_count(client: httpx.Client, chat: str) -> int:
    """Return the number of stored messages of a chat."""
    answer = client.get(chat)
    return int(answer.json()["message_count"]) if answer.status_code == 200 else 0


def found(client: httpx.Client, path: str) -> list[object]:
    """Return the results of a search."""
    items: list[object] = client.get(path).json()
    return items
