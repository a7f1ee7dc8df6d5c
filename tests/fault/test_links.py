"""Each connection between two processes is cut, reset, and left half open, under load.

A half-open connection stays so: the parts have to find out, and to go on with
a new one, while the old one never says another word.
"""

import time

import httpx
import pytest

from local_stack.ports import PLAIN_HTTP
from tests.fault.conftest import UnderLoad
from tests.fault.rig.linked_stack import LinkedStack
from tests.fault.rig.search import search
from tests.fault.rig.sequences import delete_sequences
from tests.links import Link

pytestmark = pytest.mark.timeout(300)

CUT_SECONDS = 2.0
BETWEEN_SECONDS = 0.5


def wear_out(link: Link) -> None:
    """Do everything that can happen to a link, one after another."""
    link.refuse_then_reset(CUT_SECONDS, BETWEEN_SECONDS)
    link.half_open()
    time.sleep(BETWEEN_SECONDS)
    link.silence()
    time.sleep(CUT_SECONDS)
    link.heal()


@pytest.mark.parametrize(
    "pair",
    [
        ("numbering", "valkey"),
        ("worker", "valkey"),
        ("worker", "postgres"),
        ("worker", "elasticsearch"),
        ("crud", "valkey"),
    ],
    ids="-".join,
)
def test_a_link_that_fails_costs_no_creation(
    linked: LinkedStack, under_load: UnderLoad, pair: tuple[str, str]
) -> None:
    with under_load(f"{' to '.join(pair)} cut, reset, half open") as load:
        wear_out(linked.link(*pair))
        time.sleep(BETWEEN_SECONDS)
    assert load.errors == 0, load.figures.refusals


def test_searches_continue_when_the_link_to_elasticsearch_fails(
    linked: LinkedStack, under_load: UnderLoad
) -> None:
    link = linked.link("crud", "elasticsearch")
    with under_load("crud to elasticsearch cut, reset, half open") as load:
        link.refuse()
        assert search(linked, load.application) == "postgresql"
        link.heal()
        for fault in (link.reset, link.half_open, link.silence):
            fault()
            search(linked, load.application)
        link.heal()
    assert load.errors == 0, load.figures.refusals


def test_reads_without_postgresql_are_503_and_never_500(
    linked: LinkedStack, under_load: UnderLoad
) -> None:
    link = linked.link("crud", "postgres")
    with under_load("crud to postgres cut, reset, half open") as load:
        link.refuse()
        assert read(linked, load.application) == 503
        link.heal()
        assert read(linked, load.application) == 200
        link.reset()
        assert read(linked, load.application) == 200
        link.half_open()
        assert read(linked, load.application) in {200, 503}
        link.silence()
        assert read(linked, load.application) == 503
        link.heal()
    assert load.errors == 0, load.figures.refusals


def read(stack: LinkedStack, application: str) -> int:
    """The status of reading an application."""
    return httpx.get(f"{stack.crud_url}{application}", timeout=30, **PLAIN_HTTP).status_code


def test_a_link_to_crud_that_fails_repeats_no_number(
    linked: LinkedStack, under_load: UnderLoad
) -> None:
    link = linked.link("numbering", "crud")
    with under_load("numbering to crud cut, reset, half open; sequences deleted"):
        for fault in (link.refuse, link.heal, link.reset, link.half_open, link.silence, link.heal):
            fault()
            delete_sequences(linked, share=1.0)
            time.sleep(BETWEEN_SECONDS * 2)
