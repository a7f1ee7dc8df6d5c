"""PostgreSQL's primary is lost for good, and the standby that its commits waited for takes over.

STANDBY_KILLS    how many primaries are killed in a row; 2
"""

import os
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from contract.keys import ACCEPTED
from tests.api_client import Api
from tests.fault.conftest import LoadOn
from tests.fault.rig.standby_stack import StandbyStack
from tests.links import Links
from tests.polling import wait_until

KILLS = int(os.environ.get("STANDBY_KILLS") or 2)
CREATIONS = 100
COUNT = "SELECT (SELECT count(*) FROM chats) + (SELECT count(*) FROM messages)"
TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"

pytestmark = pytest.mark.timeout(180 + 60 * KILLS)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandbyStack]:
    with Links() as links, StandbyStack(tmp_path_factory.mktemp("standby"), links) as stack:
        yield stack


@pytest.fixture
def replicated(running: StandbyStack) -> StandbyStack:
    """The stack, with a primary and a standby."""
    if running.postgres.standby is None:
        running.postgres.set_up_standby()
    return running


def test_primaries_of_postgresql_killed_at_random_and_replaced_lose_nothing(
    replicated: StandbyStack, load_on: LoadOn, chance: random.Random
) -> None:
    with load_on(replicated, f"kill -9 primary of PostgreSQL, {KILLS} times", None) as load:
        for _ in range(KILLS):
            replicated.lose_primary(chance)
            load.wait_for_more(CREATIONS, replicated.output)


@pytest.mark.parametrize("how", ["restart", "terminate"])
def test_rows_that_only_the_primary_has_stay_in_the_stream(
    replicated: StandbyStack, client: httpx.Client, how: str
) -> None:
    """A commit whose wait ends early, as its process is ended, is visible from then on."""
    api = Api(client, replicated.environment["CRUD_URL"], replicated.environment["NUMBERING_URL"])
    chat = api.chat(api.application())
    numbers = [api.message(chat, "before") for _ in range(5)]
    api.wait_for_numbers(f"{chat}/messages", numbers)
    standby = replicated.postgres.standby
    assert standby is not None
    with standby.frozen():
        numbers += [api.message(chat, "held up") for _ in range(5)]
        replicated.postgres.wait_for_held_commit("worker")
        assert api.numbers(f"{chat}/messages") == numbers[:5]
        if how == "restart":
            replicated.postgres.primary.kill()
            replicated.postgres.primary.start()
        else:
            replicated.postgres.primary.execute(TERMINATE)
        wait_until(lambda: len(api.numbers(f"{chat}/messages")) > 5, 60, replicated.output)
        # The worker has found them stored, and waits for the standby.
        replicated.postgres.wait_for_held_commit("worker")
        assert replicated.valkey.client.xlen(ACCEPTED) >= 5
        replicated.postgres.primary.kill()
        standby.kill()
    standby.start()
    replicated.postgres.replace_primary()
    replicated.postgres.set_up_standby()
    api.wait_for_numbers(f"{chat}/messages", numbers, 60)
    assert api.get(chat)["message_count"] == 10


def test_an_update_that_only_the_primary_has_is_not_confirmed(
    replicated: StandbyStack, client: httpx.Client
) -> None:
    crud = replicated.environment["CRUD_URL"]
    path = Api(client, crud, replicated.environment["NUMBERING_URL"]).application()
    standby = replicated.postgres.standby
    assert standby is not None
    with standby.frozen(), ThreadPoolExecutor(1) as other:
        put = other.submit(client.put, f"{crud}{path}", json={"name": "renamed"})
        replicated.postgres.wait_for_held_commit("crud_service")
        replicated.postgres.primary.execute(TERMINATE)
        answer = put.result()
        assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
        assert "not known" in answer.json()["detail"]
    assert client.get(f"{crud}{path}").json()["name"] == "renamed"
    assert client.put(f"{crud}{path}", json={"name": "again"}).status_code == 200


def test_a_frozen_standby_holds_up_what_is_stored_and_no_creation(
    replicated: StandbyStack, load_on: LoadOn
) -> None:
    """Then the primary restarts, both are lost, and the standby comes back."""
    stream = replicated.valkey.client
    standby = replicated.postgres.standby
    assert standby is not None
    with load_on(replicated, "standby frozen, primary restarted, then lost", None) as load:
        wait_until(lambda: load.answered > CREATIONS, 60, replicated.output)
        with standby.frozen():
            last = stream.xinfo_stream(ACCEPTED)["last-generated-id"].decode()
            answered = load.answered
            replicated.postgres.wait_for_held_commit("worker")
            [(visible,)] = replicated.postgres.primary.execute(COUNT)
            wait_until(lambda: load.answered > answered + CREATIONS, 60, replicated.output)
            # Those of before may be trimmed yet: their commit may have been acknowledged.
            oldest = stream.xrange(ACCEPTED, min=f"({last}", count=1)
            assert oldest
            replicated.postgres.primary.kill()
            replicated.postgres.primary.start()
            replicated.postgres.wait_for_held_commit("worker")
            wait_until(
                lambda: replicated.postgres.primary.execute(COUNT) > [(visible,)],
                60,
                replicated.output,
            )
            time.sleep(2)
            assert stream.xrange(ACCEPTED, min=f"({last}", count=1) == oldest
            replicated.postgres.primary.kill()
            standby.kill()
        standby.start()
        replicated.postgres.replace_primary()
        replicated.postgres.set_up_standby()
