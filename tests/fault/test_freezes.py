"""SIGSTOP of each part for ten seconds under load: nobody is told, everybody waits."""

import time

import pytest

from tests.fault.conftest import UnderLoad
from tests.fault.linked_stack import LinkedStack
from tests.fault.processes import frozen, serving
from tests.fault.search import search, searched_for

pytestmark = pytest.mark.timeout(300)

FROZEN_SECONDS = 10.0


@pytest.mark.parametrize("name", ["numbering", "valkey"])
def test_a_part_that_creations_need_freezes_and_loses_nothing(
    linked: LinkedStack, under_load: UnderLoad, name: str
) -> None:
    with under_load(f"SIGSTOP {name} for 10 s"), frozen(linked, name):
        time.sleep(FROZEN_SECONDS)


@pytest.mark.parametrize("name", ["worker", "postgres"])
def test_creations_go_on_while_a_part_behind_them_is_frozen(
    linked: LinkedStack, under_load: UnderLoad, name: str
) -> None:
    with under_load(f"SIGSTOP {name} for 10 s") as load, frozen(linked, name):
        before = load.answered
        time.sleep(FROZEN_SECONDS)
        assert load.answered > before
    assert load.errors == 0, load.figures.refusals


def test_searches_go_on_in_postgresql_while_elasticsearch_is_frozen(
    linked: LinkedStack, under_load: UnderLoad
) -> None:
    with under_load("SIGSTOP elasticsearch for 10 s") as load:
        search(linked, load.application)
        with frozen(linked, "elasticsearch"):
            backends = searched_for(FROZEN_SECONDS, linked, load.application)
        assert backends[-1] == "postgresql"
    assert load.errors == 0, load.figures.refusals


def test_one_of_two_frozen_numbering_processes_holds_up_no_other_client(
    linked: LinkedStack, under_load: UnderLoad
) -> None:
    with under_load("SIGSTOP one of two numbering processes") as load:
        process = serving(linked)[0]
        process.suspend()
        try:
            time.sleep(0.5)
            before = load.answered
            time.sleep(3)
            assert load.answered > before
        finally:
            process.resume()
    assert load.errors == 0, load.figures.refusals
