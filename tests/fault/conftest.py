"""Fixtures of the faults.

    linked        a stack of its own for the whole folder: two numbering processes, and a
                  link that can be cut between every two parts
    under_load    `with under_load("what happens") as load: …`: clients at work for as long
                  as the fault lasts, then everything is compared

FAULT_SEED      repeats the choices of a run (the instants, the pairs, the clients)
FAULT_SECONDS   how long the load goes on before and after each fault; 1
FAULT_ROUNDS    how many times each fault happens; 1
FAULT_REPORT    where the table of the faults is written; .local-test/faults.txt
"""

import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import astuple

import httpx
import pytest

from bench.running_stack import RunningStack
from local_stack.ports import PLAIN_HTTP
from tests.conftest import SEED, SESSION, started
from tests.fault.rig import report
from tests.fault.rig.index_check import IndexCheck
from tests.fault.rig.linked_stack import LinkedStack
from tests.fault.rig.load import Load
from tests.fault.rig.requests import Fate
from tests.fault.rig.verify import (
    STORED_WITHIN_SECONDS,
    rows,
    verify,
    wait_until_chat_is_stored,
    wait_until_stored,
)
from tests.links import Links
from tests.notes import noted
from tests.polling import wait_until

SECONDS = float(os.environ.get("FAULT_SECONDS") or 1)
ROUNDS = int(os.environ.get("FAULT_ROUNDS") or 1)

UnderLoad = Callable[[str], AbstractContextManager[Load]]
LoadOn = Callable[[RunningStack, str, IndexCheck | None], AbstractContextManager[Load]]
RecordProperty = Callable[[str, object], None]


def pytest_report_header() -> str:
    return f"faults: FAULT_SEED={SEED} FAULT_SECONDS={SECONDS:g} FAULT_ROUNDS={ROUNDS}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if ROUNDS > 1 and "chance" in metafunc.fixturenames:
        metafunc.parametrize("round_number", range(ROUNDS), indirect=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table, and write it; after a failure that came first, print the seed."""
    terminalreporter.section("faults")
    terminalreporter.write_line(pytest_report_header())
    lines = [report.Line(*cells) for cells in noted(terminalreporter, "fault")]
    if lines:
        report.write(lines, SEED)
        terminalreporter.write(report.render(lines, SEED))


@pytest.fixture
def round_number(request: pytest.FixtureRequest) -> int:
    return int(getattr(request, "param", 0))


@pytest.fixture
def chance(request: pytest.FixtureRequest, round_number: int) -> random.Random:
    """The choices of one test, which the seed and its name decide."""
    return random.Random(f"{SEED} {request.node.name} {round_number}")


@pytest.fixture(scope="session")
def linked() -> Iterator[LinkedStack]:
    with Links() as links:
        # Clients are to wait for a store that comes back. A busy machine takes seconds more for
        # that, and still less than an outage of twenty seconds, which is to be refused.
        environment = {"NUMBERING_PROCESSES": "2", "REDIS_PATIENCE_SECONDS": "15"}
        with started(LinkedStack(SESSION / "linked", links, environment)) as running:
            yield running


@pytest.fixture(scope="session")
def index_check(linked: LinkedStack) -> Iterator[IndexCheck]:
    with IndexCheck(linked) as checking:
        yield checking


@pytest.fixture
def under_load(linked: LinkedStack, index_check: IndexCheck, load_on: LoadOn) -> UnderLoad:
    return lambda fault: load_on(linked, fault, index_check)


@pytest.fixture
def load_on(chance: random.Random, record_property: RecordProperty) -> LoadOn:
    return lambda stack, fault, index_check: loaded(
        stack, fault, chance, index_check, record_property
    )


@contextmanager
def loaded(
    stack: RunningStack,
    fault: str,
    chance: random.Random,
    index_check: IndexCheck | None,
    record_property: RecordProperty,
) -> Iterator[Load]:
    """Clients at work around a fault, at whose end everything has to be as they know it."""
    wait_until_stored(stack)
    load = Load(stack.numbering_port, application(stack), chance.getrandbits(32))
    with load:
        load.wait_until_at_work(stack.output)
        wait_until_chat_is_stored(stack, load.application)
        time.sleep(SECONDS + chance.random())
        yield load
        time.sleep(SECONDS)
    wait_until_stored(stack)
    equal_after = None if index_check is None else index_check.wait_until_equal()
    lost = verify(stack, load)
    record_property("fault", astuple(seen(fault, load, lost, equal_after)))
    assert lost == 0, f"{lost} answered creations are not there"
    # `check_index` reads everything there is.
    erase(stack, load.application)


def application(stack: RunningStack) -> str:
    """The path of a new application."""
    url = f"{stack.crud_url}/applications"
    response = httpx.post(url, json={"name": "faults"}, timeout=15, **PLAIN_HTTP)
    assert response.status_code == 201, response.text
    return f"/applications/{response.json()['access_token']}"


def erase(stack: RunningStack, application: str) -> None:
    """Delete an application, and wait until its rows are gone."""
    token = application.rpartition("/")[2]
    # Its token is replaced in the transaction that marks it as deleted.
    query = f"SELECT id FROM applications WHERE access_token = '{token}'"
    [(application_id,)] = rows(stack, query)
    url = f"{stack.crud_url}{application}"
    # Retried while a store is unavailable (503); 404 means that an earlier attempt succeeded.
    wait_until(lambda: httpx.delete(url, timeout=15, **PLAIN_HTTP).status_code in {202, 404}, 60)
    left = f"SELECT count(*) FROM applications WHERE id = {application_id}"
    wait_until(lambda: rows(stack, left) == [(0,)], STORED_WITHIN_SECONDS, stack.output)


def seen(fault: str, load: Load, lost: int, equal_after: float | None) -> report.Line:
    """Return a fault's line in the table."""
    figures = load.figures
    answered, refused, unknown = (figures.fates[fate] for fate in Fate)
    pause = figures.longest_pause
    return report.Line(fault, answered, refused, unknown, lost, pause, equal_after)
