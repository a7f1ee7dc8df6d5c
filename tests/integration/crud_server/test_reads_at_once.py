"""Resources requested concurrently by many clients: each gets its own."""

import asyncio
import random
from collections.abc import Sequence

import httpx
import psycopg
import pytest

from tests.integration.conftest import CrudServer
from tests.integration.crud_rows import Database, add_chat_of
from tests.integration.numbering.surroundings import Client, Reply

CLIENTS = 100
ENDED = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s"


@pytest.fixture
def chat(database: Database, application: str) -> str:
    path = add_chat_of(database, application, 1000)
    database.execute("UPDATE messages SET body = 'message ' || number")
    return path


def get_all(server: CrudServer, paths: Sequence[str]) -> list[Reply]:
    """Return the responses to GETs of all paths, CLIENTS at a time."""
    replies: dict[int, Reply] = {}
    numbered = enumerate(paths)

    async def ask() -> None:
        async with Client(server.port) as client:
            for number, path in numbered:
                request_id = {"X-Request-ID": f"id-{number}"}
                replies[number] = await client.request("GET", path, headers=request_id)

    async def run() -> None:
        await asyncio.gather(*(ask() for _ in range(CLIENTS)))

    asyncio.run(run())
    return [replies[number] for number in range(len(paths))]


def test_every_read_gets_its_own_result(server: CrudServer, chat: str) -> None:
    drawn = random.Random(7)
    numbers = [drawn.randint(1, 1000) for _ in range(600)]
    answers = get_all(server, [f"{chat}/messages/{number}" for number in numbers])
    for i, (number, answer) in enumerate(zip(numbers, answers, strict=True)):
        assert answer.document["number"] == number
        assert answer.document["body"] == f"message {number}"
        assert answer.headers["x-request-id"] == f"id-{i}"


def test_a_missing_row_costs_the_other_reads_nothing(
    server: CrudServer, client: httpx.Client, application: str, chat: str
) -> None:
    unknown = f"/applications/{'A' * 24}"
    kinds = {
        application: 200,
        unknown: 404,
        chat: 200,
        f"{application}/chats/2": 404,
        f"{unknown}/chats/1": 404,
        f"{chat}/messages/1000/": 200,
        f"{chat}/messages/1001": 404,
        f"{chat}/messages/9223372036854775807": 404,
        f"{chat}/messages/9223372036854775808": 404,
        f"{application}/chats/2/messages/1": 404,
    }
    paths = list(kinds) * 40
    random.Random(8).shuffle(paths)
    for path, answer in zip(paths, get_all(server, paths), strict=True):
        assert answer.status == kinds[path], path
        if answer.status == 200:
            assert answer.body == client.get(f"{server.url}{path}").content
        else:
            assert answer.code == "not_found"


def test_connections_that_postgresql_ends_cost_no_client_an_error(
    server: CrudServer, database: psycopg.Connection, chat: str
) -> None:
    paths = [f"{chat}/messages/{number}" for number in range(1, 301)]
    for _ in range(3):
        assert {answer.status for answer in get_all(server, paths)} == {200}
        database.execute(ENDED, ("crud_service",))


def test_a_tag_that_still_matches_is_304(
    server: CrudServer, client: httpx.Client, chat: str
) -> None:
    url = f"{server.url}{chat}/messages/1"
    tag = client.get(url).headers["ETag"]
    assert client.get(url, headers={"If-None-Match": tag}).status_code == 304
    assert client.get(url, headers={"If-None-Match": '"other"'}).status_code == 200
