"""Processes that die are restarted, and data outlives the stack."""

import signal

import httpx
import psutil
import pytest

from bench.running_stack import RunningStack
from local_stack.process import is_ours
from tests.api_client import Api
from tests.conftest import SESSION
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


@pytest.mark.timeout(240)
def test_a_second_start_keeps_the_data_and_the_first_stops_gracefully(
    client: httpx.Client,
) -> None:
    stack = RunningStack(SESSION / "twice", environment={"WITHOUT_ELASTICSEARCH": "1"})
    with stack:
        api = Api(client, stack.crud_url, stack.numbering_url)
        chat = api.chat(api.application())
        api.message(chat, "kept")
        pids = [stack.pid(name) for name in PROCESSES]
        assert stack.stop(signal.SIGINT) == 0
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert not stack.layout.stack_env.exists()
    with stack:
        assert api.message(chat, "and more") == 2
        api.wait_for_numbers(f"{chat}/messages", [1, 2])


@pytest.mark.parametrize("name", PROCESSES)
def test_a_process_left_behind_is_recognised_as_ours(stack: RunningStack, name: str) -> None:
    assert is_ours(psutil.Process(stack.pid(name)), stack.layout.directory)
