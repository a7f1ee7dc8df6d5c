"""Every process shuts down gracefully under load: in time, with exit code 0, leaving nothing.

Elasticsearch does so when everything is stopped: it takes long to start again.
"""

import signal
import time

import psutil
import pytest

from tests.fault.conftest import UnderLoad
from tests.fault.rig.linked_stack import LinkedStack
from tests.fault.rig.load import CLIENTS
from tests.fault.rig.processes import (
    STOP_SECONDS,
    count_exits,
    processes_of,
    serving,
    stop_in_order,
)
from tests.fault.rig.requests import Fate
from tests.polling import eventually, wait_until

pytestmark = pytest.mark.timeout(400)


@pytest.mark.parametrize("name", ["numbering", "worker", "crud", "valkey", "postgres"])
def test_sigterm_ends_a_process_in_time_and_loses_nothing(
    linked: LinkedStack, under_load: UnderLoad, name: str
) -> None:
    before = count_exits(linked, name, "exit code 0")
    with under_load(f"SIGTERM {name}") as load:
        assert stop_in_order(linked, name) < STOP_SECONDS
        time.sleep(1)
    assert count_exits(linked, name, "exit code 0") == before + 1, linked.output()[-1000:]
    if name != "numbering":
        assert load.errors == 0, load.figures.refusals
    # Refused connections are to be expected, but not answers that never come: at the most
    # for a connection that was accepted in the very moment in which the port was closed.
    assert load.figures.fates[Fate.UNKNOWN] < CLIENTS / 2, load.figures.refusals


def test_a_rolling_restart_costs_no_client_an_error(
    linked: LinkedStack, under_load: UnderLoad
) -> None:
    with under_load("SIGHUP numbering (rolling restart)") as load:
        before = eventually(lambda: serving(linked), lambda found: len(found) == 2, 60)
        assert len(before) == 2
        linked.send("numbering", signal.SIGHUP)
        wait_until(lambda: not any(map(psutil.Process.is_running, before)), 60)
        wait_until(lambda: len(serving(linked)) == 2, 60)
        time.sleep(2)
    assert load.errors == 0, load.figures.refusals


def test_a_stack_stopped_under_load_leaves_no_process_and_keeps_every_answer(
    linked: LinkedStack, under_load: UnderLoad
) -> None:
    with under_load("SIGTERM everything, then a new start") as load:
        ended = orderly_ends_of_elasticsearch(linked)
        assert linked.stop() == 0
        assert processes_of(linked) == []
        if linked.environment["ELASTICSEARCH_URL"]:
            assert orderly_ends_of_elasticsearch(linked) == ended + 1, "it was killed"
        with load.slowed_down():
            linked.start_without_elasticsearch()


def orderly_ends_of_elasticsearch(linked: LinkedStack) -> int:
    """Return how many times it has ended by itself, by the last line that it logs then."""
    log = linked.layout.logs / "elasticsearch.log"
    return log.read_text().count('"message":"closed"') if log.exists() else 0
