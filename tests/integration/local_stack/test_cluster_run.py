"""`make run CLUSTER=1`: several of each part behind a proxy, and one of each killed."""

import itertools
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from bench.running_stack import RunningStack
from chat_backend_client import ChatClient, Client, Retries
from local_stack.applications import ROOT
from local_stack.cluster.cluster_stack import SERVERS
from local_stack.status import roles
from tests.api_client import Api, new_chat
from tests.conftest import SESSION
from tests.fault.rig.processes import kill_at_once, processes_of
from tests.nginx import require_nginx
from tests.polling import wait_until

KILLED = ("crud-1", "numbering-2", "worker-1", "broker", "standby", "postgres", "proxy")
RECOVERED_SECONDS = 90.0

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def cluster() -> Iterator[RunningStack]:
    require_nginx()
    environment = {"CLUSTER": "1", "WITHOUT_ELASTICSEARCH": "1"}
    with RunningStack(SESSION / "cluster", environment=environment) as stack:
        yield stack


def command(stack: RunningStack, name: str) -> str:
    """Run a command on the stack, which has to succeed; returns what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "local_stack", name],
        cwd=ROOT,
        env=stack.supervisor_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_demo_walks_through_the_api(cluster: RunningStack) -> None:
    assert "201 Created" in command(cluster, "demo")


def test_the_status_names_every_part_and_who_is_a_primary(cluster: RunningStack) -> None:
    lines = command(cluster, "status").splitlines()
    for name in (*KILLED, *SERVERS):
        assert any(line.split()[:3] == [name, "pid", str(cluster.pid(name))] for line in lines)
    assert sum(line.endswith("   primary") for line in lines) == 3
    assert sum("   replica of valkey-" in line for line in lines) == 3


def test_both_services_of_a_kind_are_asked(cluster: RunningStack, client: httpx.Client) -> None:
    for kind, url in (("crud", cluster.crud_url), ("numbering", cluster.numbering_url)):
        ids: set[str] = set()
        logs = [cluster.layout.logs / f"{kind}-{number}.log" for number in (1, 2)]

        def ask(url: str = url, ids: set[str] = ids, logs: list[Path] = logs) -> bool:
            request_id = f"through-the-proxy-{len(ids)}"
            ids.add(request_id)
            headers = {"X-Request-ID": request_id}
            assert client.get(f"{url}/health/live", headers=headers).status_code == 200
            return all(logged(ids, logs))

        # The proxy takes turns among all requests, those of the stack itself included, so that a
        # fixed number of ours may all have the same turn.
        wait_until(ask, 60)
        wait_until(lambda logs=logs, ids=ids: set.union(*logged(ids, logs)) == ids, 60)


def logged(ids: set[str], logs: list[Path]) -> list[set[str]]:
    """Return which ids of requests each log has."""
    return [{each for each in ids if f'"{each}"' in log.read_text()} for log in logs]


def test_lists_that_wait_and_scripts_of_the_page_pass_the_proxy(
    cluster: RunningStack, client: httpx.Client
) -> None:
    api = Api(client, cluster.crud_url, cluster.numbering_url)
    chat = api.chat(api.application())
    api.wait_for_numbers(chat.rpartition("/")[0], [1])
    waiting = client.get(f"{api.crud}{chat}/messages?after=0&wait=1")
    assert (waiting.status_code, waiting.json()) == (200, [])
    headers = {"Origin": cluster.crud_url, "Access-Control-Request-Method": "POST"}
    allowed = client.options(f"{api.numbering}{chat}/messages", headers=headers)
    assert allowed.headers["Access-Control-Allow-Origin"] == cluster.crud_url


def test_one_of_each_kind_is_killed_and_nothing_is_lost(cluster: RunningStack) -> None:
    lost = next(name for name, role in roles(cluster.layout).items() if role == "primary")
    retries = Retries(seconds=RECOVERED_SECONDS, longest_pause=1.0)
    with Client(cluster.crud_url, cluster.numbering_url, retries=retries) as client:
        # One application for each shard, most likely: the lost primary has a third of them.
        chats = [new_chat(client) for _ in range(6)]
        followed = chats[0].follow(after=0)
        for chat in chats:
            assert [chat.create_message("before")["number"] for _ in range(2)] == [1, 2]
        assert [event.message["number"] for event in itertools.islice(followed, 2)] == [1, 2]
        kill_at_once(cluster, lost, *KILLED)
        for chat in chats:
            assert [chat.create_message("after")["number"] for _ in range(2)] == [3, 4]
        assert [event.message["number"] for event in itertools.islice(followed, 2)] == [3, 4]
        for chat in chats:
            chat.message(4, until_stored=True)
            assert [message["number"] for message in chat.messages()] == [1, 2, 3, 4]
            wait_until(lambda chat=chat: found(chat, "after") == [3, 4], RECOVERED_SECONDS)
    elected = rf"valkey-\d was elected primary in place of {lost}"
    wait_until(lambda: re.search(elected, cluster.output()) is not None, 60, cluster.output)
    wait_until(lambda: "replica of" in roles(cluster.layout).get(lost, ""), 60, cluster.output)


def found(chat: ChatClient, keyword: str) -> list[int]:
    return sorted(message["number"] for message in chat.search(keyword))


def test_it_stops_as_a_whole(cluster: RunningStack) -> None:
    running = processes_of(cluster)
    assert cluster.stop(signal.SIGINT) == 0
    assert not any(process.is_running() for process in running)
    assert not cluster.layout.stack_env.exists()
