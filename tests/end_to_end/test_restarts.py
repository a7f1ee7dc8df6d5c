"""Processes that die are restarted."""

import httpx
import psutil
import pytest

from bench.running_stack import RunningStack
from local_stack.process import is_ours
from tests.api_client import Api
from tests.polling import eventually

PROCESSES = ("numbering", "crud", "worker", "valkey", "postgres")


@pytest.mark.parametrize("name", PROCESSES)
def test_a_killed_process_is_restarted_and_nothing_is_lost(
    api: Api, stack: RunningStack, name: str
) -> None:
    chat = api.chat(api.application())
    api.message(chat, "before")
    dead = stack.pid(name)
    assert stack.kill(name) != dead
    wait_until_well(api)
    assert api.message(chat, "after") == 2
    api.wait_for_numbers(f"{chat}/messages", [1, 2], seconds=30)


def wait_until_well(api: Api) -> None:
    """Wait until both services are ready."""
    for url in (api.crud, api.numbering):
        status = eventually(lambda url=url: readiness(api, url), lambda it: it == 200, 60)
        assert status == 200


def readiness(api: Api, url: str) -> int:
    try:
        return api.client.get(f"{url}/health/ready").status_code
    except httpx.TransportError:
        return 0


@pytest.mark.parametrize("name", PROCESSES)
def test_a_process_left_behind_is_recognised_as_ours(stack: RunningStack, name: str) -> None:
    assert is_ours(psutil.Process(stack.pid(name)), stack.layout.directory)
