"""The internal endpoint on both sides: crud_service answers, numbering_service asks."""

import asyncio
import sys
from collections.abc import Iterator
from typing import NamedTuple

import httpx
import pytest
import redis
from redis.asyncio import Redis

from contract import keys
from contract.sequences import (
    ACCESS_TOKENS,
    EXISTS,
    HIGHEST_NUMBER,
    MAX_ACCESS_TOKENS,
    applications_path,
    sequence_path,
)
from local_stack.applications import is_live
from local_stack.ports import PLAIN_HTTP, choose_port
from local_stack.stack import Stores
from numbering_service.creation import Creation
from numbering_service.seeding import Seeding
from tests.conftest import INTERNAL_TOKEN, empty_redis, empty_tables, own_database
from tests.integration.accepting import make_application, query
from tests.integration.numbering.surroundings import A, B, Process
from web.problems import ChatDeleted, NotFound, StoreUnavailable

ROWS = """
WITH a AS (SELECT id FROM applications WHERE access_token = %s),
c AS (INSERT INTO chats (application_id, number, message_count, created_at, updated_at)
      SELECT id, n, 0, now(), now() FROM a, unnest(ARRAY[1, 5]) n RETURNING id, number)
INSERT INTO messages (chat_id, number, body, version, created_at, updated_at)
SELECT id, n, 'x', 1, now(), now() FROM c, unnest(ARRAY[1, 7]) n WHERE c.number = 5 RETURNING id
"""


class Crud(NamedTuple):
    url: str
    database_url: str
    redis_url: str


@pytest.fixture(scope="module")
def empty_crud(
    stores: Stores, migrated_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Crud]:
    """crud_service on a database of its own, for all tests of this module."""
    port = choose_port()
    url = f"http://127.0.0.1:{port}"
    with own_database(stores, migrated_template) as database_url:
        crud = Crud(url, database_url, stores.environment["REDIS_URL"])
        environment = {"DATABASE_URL": crud.database_url, "REDIS_URL": crud.redis_url}
        environment |= {"CRUD_PORT": str(port), "INTERNAL_TOKEN": INTERNAL_TOKEN}
        environment |= {"LOCAL_STACK": "1", "ELASTICSEARCH_URL": "", "ADMIN_TOKEN": ""}
        command = [sys.executable, "-m", "crud_service"]
        log = tmp_path_factory.mktemp("crud") / "crud.log"
        with Process(log, command, **environment) as process:
            process.wait_for(lambda: is_live(url), 60)
            yield crud


@pytest.fixture
def running_crud(empty_crud: Crud) -> Crud:
    """crud_service with an application A: chats 1 and 5, the latter with messages up to 7."""
    empty_tables(empty_crud.database_url)
    empty_redis(empty_crud.redis_url)
    make_application(empty_crud.database_url, A)
    query(empty_crud.database_url, ROWS, A)
    return empty_crud


async def seed(crud: Crud, token: str, *creations: Creation) -> list[object]:
    """Return the outcome of seeding each: None, or the problem."""
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        httpx.AsyncClient(base_url=crud.url, headers=headers, timeout=30, **PLAIN_HTTP) as client,
        Redis.from_url(crud.redis_url) as connection,
    ):
        seeding = Seeding([connection], client, patience_seconds=8)
        seeds = (seeding.seed_sequence(creation) for creation in creations)
        return list(await asyncio.gather(*seeds, return_exceptions=True))


def message(chat: int, token: str = A) -> Creation:
    return Creation(token, chat, "x", "r")


def test_the_highest_stored_number_becomes_the_sequence(running_crud: Crud) -> None:
    creations = [Creation(A, None, "", "r"), message(1), message(5)]
    assert asyncio.run(seed(running_crud, INTERNAL_TOKEN, *creations)) == [None] * 3
    with redis.Redis.from_url(running_crud.redis_url) as client:
        found = client.mget(creation.sequence_key for creation in creations)
        assert found == [b"5", b"0", b"7"]
        assert not client.keys("lock:*")
        assert client.ttl(message(5).sequence_key) > keys.SEQUENCE_TTL_SECONDS - 60


def test_nonexistent_collections_are_unknown_for_a_moment(running_crud: Crud) -> None:
    creations = [message(2), Creation(B, None, "", "r"), message(1, B)]
    outcomes = asyncio.run(seed(running_crud, INTERNAL_TOKEN, *creations))
    assert [type(outcome) for outcome in outcomes] == [NotFound] * 3
    with redis.Redis.from_url(running_crud.redis_url) as client:
        for creation in creations:
            assert client.get(creation.sequence_key) in {keys.UNKNOWN.encode(), None}
            assert client.pttl(creation.sequence_key) <= keys.UNKNOWN_TTL_MS


def test_a_sequence_that_another_process_seeds_meanwhile_is_waited_for(running_crud: Crud) -> None:
    sequence = message(5).sequence_key
    with redis.Redis.from_url(running_crud.redis_url) as client:
        client.set(keys.seed_lock(sequence), "another process")

        async def wait_for_the_other() -> list[object]:
            seeding = asyncio.create_task(seed(running_crud, INTERNAL_TOKEN, message(5)))
            await asyncio.sleep(0.3)
            assert not seeding.done()
            client.set(sequence, 9)
            client.delete(keys.seed_lock(sequence))
            return await seeding

        assert asyncio.run(wait_for_the_other()) == [None]
        assert client.get(sequence) == b"9"


def test_another_token_gets_no_number(running_crud: Crud) -> None:
    [outcome] = asyncio.run(seed(running_crud, "another", message(1)))
    assert isinstance(outcome, StoreUnavailable)
    with redis.Redis.from_url(running_crud.redis_url) as client:
        assert not client.keys("*")


def test_the_endpoint_answers_as_documented(running_crud: Crud) -> None:
    allowed = {"Authorization": f"Bearer {INTERNAL_TOKEN}"}
    with httpx.Client(base_url=running_crud.url, timeout=60, **PLAIN_HTTP) as client:
        for path, status, highest in (
            (sequence_path(A, None), 200, 5),
            (sequence_path(A, 1), 200, 0),
            (sequence_path(A, 5), 200, 7),
            (sequence_path(A, 2), 404, None),
            (sequence_path(B, None), 404, None),
            (sequence_path(B, 1), 404, None),
        ):
            reply = client.get(path, headers=allowed)
            assert (reply.status_code, reply.json().get(HIGHEST_NUMBER)) == (status, highest)
            assert reply.json().get(EXISTS, False) is (status == 200)
            for refused in ({}, {"Authorization": "Bearer x"}, {"Authorization": INTERNAL_TOKEN}):
                assert client.get(path, headers=refused).status_code == 401


def test_existing_applications_are_distinguished_from_others(running_crud: Crud) -> None:
    allowed = {"Authorization": f"Bearer {INTERNAL_TOKEN}"}
    others = [f"{number:024d}" for number in range(MAX_ACCESS_TOKENS - 1)]
    with httpx.Client(base_url=running_crud.url, timeout=60, **PLAIN_HTTP) as client:
        reply = client.get(applications_path([*others, A]), headers=allowed)
        assert (reply.status_code, reply.json()) == (200, {ACCESS_TOKENS: [A]})
        assert client.get(applications_path([B]), headers=allowed).json() == {ACCESS_TOKENS: []}
        for wrong in ([], ["x"], [A, ""], [*others, A, B]):
            assert client.get(applications_path(wrong), headers=allowed).status_code == 422
        assert client.get(applications_path([A])).status_code == 401


SET_ASIDE = """
INSERT INTO set_aside_entries (entry_id, access_token, chat_number, number, payload, reason)
VALUES (%s, %s, %s, %s, '{}', 'x') RETURNING id
"""


def test_set_aside_numbers_count_as_taken_without_their_chat(running_crud: Crud) -> None:
    """Chat 9 was answered but could not be stored, nor could three messages of it."""
    for entry in (("1-1", A, None, 9), ("1-2", A, 9, 3), ("1-3", B, 1, 4)):
        query(running_crud.database_url, SET_ASIDE, *entry)
    allowed = {"Authorization": f"Bearer {INTERNAL_TOKEN}"}
    with httpx.Client(base_url=running_crud.url, timeout=60, **PLAIN_HTTP) as client:
        for path, highest, exists in (
            (sequence_path(A, None), 9, True),
            (sequence_path(A, 9), 3, True),
            (sequence_path(B, 1), 4, False),
        ):
            reply = client.get(path, headers=allowed).json()
            assert reply == {HIGHEST_NUMBER: highest, EXISTS: exists}


def test_creations_in_a_deleted_chat_are_refused_whatever_redis_has_lost(
    running_crud: Crud,
) -> None:
    path = f"{running_crud.url}/applications/{A}/chats/5"
    assert httpx.delete(path, timeout=60, **PLAIN_HTTP).status_code == 204
    with redis.Redis.from_url(running_crud.redis_url) as client:
        assert client.getdel(message(5).sequence_key) == keys.DELETED.encode()
        [outcome] = asyncio.run(seed(running_crud, INTERNAL_TOKEN, message(5)))
        assert isinstance(outcome, ChatDeleted)
        assert client.get(message(5).sequence_key) == keys.DELETED.encode()
        assert client.ttl(message(5).sequence_key) > keys.SEQUENCE_TTL_SECONDS - 60


def test_creations_in_a_deleted_application_are_refused_whatever_redis_has_lost(
    running_crud: Crud,
) -> None:
    """Even if entries of it are still in the backlog."""
    accepted = {"access_token": A, "chat_number": "5", "number": "8", "body": "", "request_id": ""}
    path = f"{running_crud.url}/applications/{A}"
    with redis.Redis.from_url(running_crud.redis_url) as client:
        client.xadd(keys.ACCEPTED, accepted)
        assert httpx.delete(path, timeout=60, **PLAIN_HTTP).status_code == 202
        assert client.get(keys.chat_sequence(A)) == keys.DELETED.encode()
        client.delete(keys.chat_sequence(A))
        creations = [message(5), Creation(A, None, "", "r")]
        outcomes = asyncio.run(seed(running_crud, INTERNAL_TOKEN, *creations))
        assert [type(outcome) for outcome in outcomes] == [NotFound] * 2
