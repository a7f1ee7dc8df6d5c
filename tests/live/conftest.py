"""Fixtures of the live streams.

    following   a stack with links between its parts, 2,000 followers of its chats and 24 writers:
                `with following("what happens"): …` writes for as long as the fault lasts, then
                waits until every follower has seen what the table holds

FAULT_SEED        repeats the choices of a run (the instants, the texts, the connections dropped)
LIVE_FOLLOWERS    how many follow; 2,000, fewer for a slow machine
"""

import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import httpx
import pytest

from bench.running_stack import RunningStack
from local_stack.ports import PLAIN_HTTP
from tests.api_client import Api
from tests.conftest import SEED, SESSION
from tests.fault.rig.linked_stack import LinkedStack
from tests.fault.rig.verify import wait_until_stored
from tests.links import Link, Links
from tests.live.swarm import Plan, Swarm
from tests.live.writers import Writers
from tests.notes import noted

FOLLOWERS = int(os.environ.get("LIVE_FOLLOWERS") or 2000)
# One application may have 1,000 streams.
APPLICATIONS, CHATS = 4, 12
OPEN_WITHIN_SECONDS, EQUAL_WITHIN_SECONDS = 60.0, 60.0
SECONDS = 0.3


class Following(Protocol):
    """Followers and writers at work around a fault, which nobody may notice afterwards."""

    def __call__(self, fault: str) -> AbstractContextManager[None]: ...


def pytest_report_header() -> str:
    return f"followers: FAULT_SEED={SEED} LIVE_FOLLOWERS={FOLLOWERS}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what the followers saw of each fault."""
    lines = noted(terminalreporter, "followers")
    if lines:
        terminalreporter.section(pytest_report_header())
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """The choices of one test, which the seed and its name decide."""
    return random.Random(f"{SEED} {request.node.name}")


@pytest.fixture(scope="session")
def links() -> Iterator[Links]:
    with Links() as running:
        yield running


@pytest.fixture(scope="session")
def linked(links: Links) -> Iterator[LinkedStack]:
    environment = {"NUMBERING_PROCESSES": "2", "WITHOUT_ELASTICSEARCH": "1"}
    with LinkedStack(SESSION / "live", links, environment) as running:
        yield running


@pytest.fixture(scope="session")
def stack(linked: LinkedStack) -> RunningStack:
    """The same stack, for tests that break nothing."""
    return linked


@pytest.fixture
def chat(api: Api) -> str:
    """A chat with three stored messages."""
    chat = api.chat(api.application())
    for number in (1, 2, 3):
        api.message(chat, f"message {number}")
    api.wait_for_numbers(f"{chat}/messages", [1, 2, 3])
    return chat


@pytest.fixture(scope="session")
def link_to_clients(links: Links, linked: LinkedStack) -> Link:
    """The link through which some followers reach crud."""
    return links.add(lambda: linked.crud_port)


@pytest.fixture(scope="module")
def chats(linked: LinkedStack) -> dict[str, list[str]]:
    """Chats, by paths of their applications; all of them stored."""
    with httpx.Client(timeout=30, **PLAIN_HTTP) as client:
        api = Api(client, linked.crud_url, linked.numbering_url)
        applications = [api.application(f"live {number}") for number in range(APPLICATIONS)]
        made = {path: [api.chat(path) for _ in range(CHATS)] for path in applications}
        wait_until_stored(linked)
    return made


@pytest.fixture(scope="module")
def swarm(
    linked: LinkedStack, link_to_clients: Link, chats: dict[str, list[str]]
) -> Iterator[Swarm]:
    plan = Plan(
        linked.crud_port,
        link_to_clients.port,
        linked.environment["DATABASE_URL"],
        FOLLOWERS,
        SEED,
        chats,
    )
    with Swarm(plan) as followers:
        followers.wait_until_open(OPEN_WITHIN_SECONDS)
        yield followers


@pytest.fixture(scope="module")
def writers(linked: LinkedStack, chats: dict[str, list[str]]) -> Writers:
    return Writers(linked, [chat for made in chats.values() for chat in made], SEED)


@pytest.fixture
def following(
    linked: LinkedStack,
    swarm: Swarm,
    writers: Writers,
    chance: random.Random,
    record_property: Callable[[str, object], None],
) -> Following:
    @contextmanager
    def followed(fault: str) -> Iterator[None]:
        before = swarm.look()
        with writers:
            time.sleep(SECONDS + chance.random() / 2)
            yield
            time.sleep(SECONDS)
        wait_until_stored(linked)
        stored = time.monotonic()
        swarm.wait_until_equal(EQUAL_WITHIN_SECONDS)
        after = swarm.look()
        record_property("followers", seen(fault, before, after, time.monotonic() - stored))
        assert after["complaints"] == []
        assert after["truncated"] == 0, "responses that ended within an event"
        # On anything but 200 a browser gives up, and its page has to do something about it.
        assert after["refused"] == before["refused"]

    return followed


def seen(fault: str, before: dict[str, Any], after: dict[str, Any], seconds: float) -> str:
    """Return a fault's line in the summary."""
    events = sum(after["events"].values()) - sum(before["events"].values())
    opened, resumed = (after[name] - before[name] for name in ("opened", "resumed"))
    refused = sum(after["refused"].values()) - sum(before["refused"].values())
    line = f"{events:,} events, {opened:,} connections, {resumed:,} of them with an id"
    return f"{line}, {refused:,} refused, equal after {seconds:.1f} s: {fault}"
