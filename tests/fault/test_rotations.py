"""Rotations under load and killed at random instants: no number is repeated or skipped."""

import random
import time
from collections.abc import Iterator

import httpx
import pytest

from local_stack.ports import PLAIN_HTTP
from tests.fault.conftest import application
from tests.fault.rig.linked_stack import LinkedStack
from tests.fault.rig.rotated_load import RotatedLoad
from tests.fault.rig.verify import wait_until_stored
from tests.killing import kill_after
from tests.line_program import LineProgram

ROTATIONS = 30
# Longer than a rotation takes, so that some are killed at its end, or too late.
LONGEST_SECONDS = 0.4

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def killer(linked: LinkedStack) -> Iterator[LineProgram]:
    settings = {"DJANGO_SETTINGS_MODULE": "crud_service.settings", "LOCAL_STACK": "1"}
    module = "tests.fault.rig.killed_rotations"
    with LineProgram(module, {**linked.environment, **settings}) as program:
        yield program


@pytest.fixture
def crud(linked: LinkedStack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=linked.crud_url, timeout=20, **PLAIN_HTTP) as client:
        yield client


def rotate(crud: httpx.Client, token: str, key: str) -> str:
    """Rotate, as a client does that repeats a request until it is answered."""
    deadline = time.monotonic() + 30
    while True:
        answer = crud.post(f"/applications/{token}/rotate", headers={"Idempotency-Key": key})
        if answer.status_code == 200 or time.monotonic() > deadline:
            assert answer.status_code == 200, answer.text
            renamed: str = answer.json()["access_token"]
            return renamed
        assert answer.status_code == 503, answer.text
        time.sleep(0.1)


def test_killed_rotations_repeat_and_skip_no_number(
    linked: LinkedStack, crud: httpx.Client, killer: LineProgram, chance: random.Random
) -> None:
    token = application(linked).rpartition("/")[2]
    numbering = httpx.Client(base_url=linked.numbering_url, timeout=20, **PLAIN_HTTP)
    assert numbering.post(f"/applications/{token}/chats").status_code == 201
    once = {"Idempotency-Key": "of a creation"}
    with RotatedLoad(linked.numbering_url, token) as load:
        for round_number in range(ROTATIONS):
            messages = f"/applications/{token}/chats/1/messages"
            created = numbering.post(messages, json={"body": "one"}, headers=once)
            assert created.status_code == 201, created.text
            load.messages.append(created.json()["number"])
            key = f"rotation-{round_number}"
            kill_after(chance.uniform(0, LONGEST_SECONDS), killer, token, key)
            renamed = rotate(crud, token, key)
            load.rotated(renamed)
            assert renamed != token
            assert rotate(crud, token, key) == renamed
            assert crud.get(f"/applications/{token}").status_code == 404
            for path in (messages, f"/applications/{token}/chats"):
                assert numbering.post(path, json={"body": "late"}).status_code == 404
            # Not even the answer to an earlier request.
            late = numbering.post(messages, json={"body": "one"}, headers=once)
            assert late.status_code == 404
            token = renamed
    numbering.close()
    wait_until_stored(linked)
    assert load.after_the_end == []
    assert set(load.statuses) <= {201, 404, 503}, load.statuses
    # Every number was answered, and is stored once.
    for path, answered in (("chats", [1, *load.chats]), ("chats/1/messages", load.messages)):
        stored = [it["number"] for it in crud.get(f"/applications/{token}/{path}").json()]
        assert stored == list(range(1, len(stored) + 1))
        assert sorted(answered) == stored
    assert len(load.messages) > 100
