"""Twenty seconds under load without one process: frozen, or killed and not restarted.

Clients of a frozen part wait; clients of a dead one are refused. `test_kills` has Elasticsearch
killed, which takes long enough to start.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from tests.fault.conftest import UnderLoad
from tests.fault.rig.linked_stack import LinkedStack
from tests.fault.rig.processes import away, frozen
from tests.fault.rig.search import search, searched_for

pytestmark = pytest.mark.timeout(400)

OUTAGE_SECONDS = 20.0
Outage = Callable[[LinkedStack, str], AbstractContextManager[None]]

outages = pytest.mark.parametrize("outage", [frozen, away], ids=lambda outage: outage.__name__)


@outages
def test_twenty_seconds_without_valkey_lose_nothing(
    linked: LinkedStack, under_load: UnderLoad, outage: Outage
) -> None:
    with (
        under_load(f"valkey {outage.__name__} for 20 s") as load,
        outage(linked, "valkey"),
        load.slowed_down(),
    ):
        time.sleep(OUTAGE_SECONDS)


@outages
@pytest.mark.parametrize("name", ["worker", "postgres"])
def test_creations_continue_for_twenty_seconds_without_persisting(
    linked: LinkedStack, under_load: UnderLoad, name: str, outage: Outage
) -> None:
    with under_load(f"{name} {outage.__name__} for 20 s") as load, outage(linked, name):
        before = load.answered
        with load.slowed_down():
            time.sleep(OUTAGE_SECONDS)
        assert load.answered > before
    assert load.errors == 0, load.figures.refusals


def test_searches_continue_in_postgresql_for_twenty_seconds_without_elasticsearch(
    linked: LinkedStack, under_load: UnderLoad
) -> None:
    with under_load("elasticsearch frozen for 20 s") as load:
        search(linked, load.application)
        with load.slowed_down(), frozen(linked, "elasticsearch"):
            backends = searched_for(OUTAGE_SECONDS, linked, load.application)
        assert backends[-1] == "postgresql"
    assert load.errors == 0, load.figures.refusals
