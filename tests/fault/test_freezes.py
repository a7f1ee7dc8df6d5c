"""The services are frozen (SIGSTOP) for ten seconds under load: clients wait and get no error."""

import time

import pytest

from tests.fault.conftest import UnderLoad
from tests.fault.rig.linked_stack import LinkedStack
from tests.fault.rig.processes import frozen, serving

pytestmark = pytest.mark.timeout(300)

FROZEN_SECONDS = 10.0


def test_a_frozen_numbering_service_loses_nothing(
    linked: LinkedStack, under_load: UnderLoad
) -> None:
    with under_load("numbering frozen for 10 s"), frozen(linked, "numbering"):
        time.sleep(FROZEN_SECONDS)


def test_creations_in_known_chats_continue_while_crud_is_frozen(
    linked: LinkedStack, under_load: UnderLoad
) -> None:
    with under_load("crud frozen for 10 s") as load, frozen(linked, "crud"):
        before = load.answered
        with load.slowed_down():
            time.sleep(FROZEN_SECONDS)
        assert load.answered > before
    assert load.errors == 0, load.figures.refusals


def test_freezing_one_of_two_numbering_processes_delays_no_other_client(
    linked: LinkedStack, under_load: UnderLoad
) -> None:
    with under_load("one of two numbering processes frozen") as load:
        process = serving(linked)[0]
        process.suspend()
        try:
            time.sleep(0.5)
            load.wait_for_more(0, linked.output)
            time.sleep(3)
        finally:
            process.resume()
    assert load.errors == 0, load.figures.refusals
