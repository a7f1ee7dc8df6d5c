"""Reads with DATABASE_READ_URL: nobody reads the past, however far the replica lags."""

import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from itertools import pairwise
from secrets import token_hex
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
import redis

from contract import keys
from contract.sequences import HIGHEST_NUMBER
from local_stack.ports import PLAIN_HTTP
from tests.conftest import INTERNAL_TOKEN
from tests.integration.breakable import Breakable
from tests.integration.conftest import CrudServer, crud_servers
from tests.integration.crud_rows import Database, add_chat_of, token_of
from tests.integration.crud_server.test_both_ways import ask, paths
from tests.polling import eventually, wait_until
from tests.standby import Standby

READS = re.compile(r'chat_read_statements_total\{server="(\w+)"\} (\S+)')
TURNS = re.compile(r'"message": "reads go to the (\w+)"')
KEPT_UP_SECONDS = 60
# Without, eight clients take both processors for as long as there is trouble.
BETWEEN_ROUNDS_SECONDS = 0.05

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def running_standby(
    crud: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Standby]:
    directory = tmp_path_factory.mktemp("standby")
    with Standby(directory / "stack", crud["DATABASE_URL"]) as standby:
        yield standby


@pytest.fixture
def standby(running_standby: Standby, clean_crud: dict[str, str]) -> Standby:
    """A standby of the primary, in step with its empty tables."""
    running_standby.catch_up()
    return running_standby


@pytest.fixture(scope="module", params=["1", "0"], ids=["fast reads", "views"])
def running_server(
    request: pytest.FixtureRequest, crud: dict[str, str], running_standby: Standby
) -> Iterator[CrudServer]:
    with crud_servers(crud) as start:
        yield start(DATABASE_READ_URL=running_standby.url, FAST_READS=request.param)


@pytest.fixture
def server(running_server: CrudServer, standby: Standby) -> CrudServer:
    """crud_service, with reads on the standby."""
    wait_for_replica(running_server)
    return running_server


@pytest.fixture
def http_client(server: CrudServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=15, **PLAIN_HTTP) as client:
        yield client


@pytest.fixture
def chat(database: Database, application: str) -> str:
    """A chat of seven messages."""
    return add_chat_of(database, application, 7, "Ruby")


def metrics(server: CrudServer) -> str:
    return httpx.get(f"{server.url}/metrics", timeout=60, **PLAIN_HTTP).text


def wait_for_replica(server: CrudServer, state: int = 1) -> None:
    """Wait until a server uses its replica, or does not any more."""
    line = f"chat_replica_up {state}.0\n"
    wait_until(lambda: line in metrics(server), KEPT_UP_SECONDS)


def statements(server: CrudServer) -> Counter[str]:
    """How many statements of reads the replica has answered, and the primary."""
    return Counter({name: int(float(count)) for name, count in READS.findall(metrics(server))})


def undisturbed(read: Callable[[], Counter[str]]) -> Counter[str]:
    """Repeat reads until the replica has answered them all; a busy machine may have it lag."""
    return eventually(read, lambda answered: not answered["primary"], KEPT_UP_SECONDS)


def number_of_chats(standby: Standby) -> int:
    [(count,)] = standby.execute("SELECT count(*) FROM chats")
    return int(count)


def test_every_read_is_the_replicas_and_answered_as_by_the_primary(
    shared_server: CrudServer, server: CrudServer, standby: Standby, chat: str
) -> None:
    def read() -> Counter[str]:
        wait_for_replica(server)
        before = statements(server)
        for path in paths(chat).values():
            assert ask(server, "GET", path) == ask(shared_server, "GET", path), path
        return statements(server) - before

    standby.catch_up()
    answered = undisturbed(read)
    assert answered["replica"] > 20
    assert not answered["primary"]
    assert not statements(shared_server)


def test_a_read_that_the_replica_refuses_takes_no_other_from_it(
    crud_server: Callable[..., CrudServer], standby: Standby, database: Database, chat: str
) -> None:
    """As its role does that was granted each table, before a migration added one."""
    name = f"reader_{token_hex(4)}"
    reader = psycopg.sql.Identifier(name)
    tables = "applications, chats"
    for statement in ("CREATE ROLE {} LOGIN PASSWORD 'x'", f"GRANT SELECT ON {tables} TO {{}}"):
        database.execute(psycopg.sql.SQL(statement).format(reader))
    standby.catch_up()
    address = urlsplit(standby.url)
    url = address._replace(netloc=f"{name}:x@{address.hostname}:{address.port}").geturl()
    own = crud_server(DATABASE_READ_URL=url)
    wait_for_replica(own)

    def read() -> Counter[str]:
        before = statements(own)
        for path in (f"{chat}/messages", f"{chat}/messages/1", chat):
            assert httpx.get(own.url + path, timeout=60, **PLAIN_HTTP).status_code == 200
        return statements(own) - before

    answered = eventually(read, lambda it: it["replica"] == 1, KEPT_UP_SECONDS)
    assert answered == {"primary": 2, "replica": 1}
    assert "reads go to the primary" not in own.output()
    assert "permission denied for table messages" in own.output()


@pytest.mark.parametrize("lags", [True, False], ids=["a replica that lags", "one that does not"])
def test_what_was_written_is_read(
    server: CrudServer,
    http_client: httpx.Client,
    standby: Standby,
    database: Database,
    chat: str,
    lags: bool,
) -> None:
    application = chat.removesuffix("/chats/1")
    standby.catch_up()
    http, before = http_client, statements(server)
    with standby.lagging() if lags else nullcontext():
        # An application, as soon as it was created, and renamed.
        other = http.post("/applications", json={"name": "other"}).json()
        own = f"/applications/{other['access_token']}"
        assert http.get(own).json() == other
        assert http.get("/applications").json()[-1] == other
        assert http.put(own, json={"name": "renamed"}).status_code == 200
        assert http.get(own).json()["name"] == "renamed"
        # A chat and its messages, as soon as they are stored.
        assert http.get(f"{own}/chats").json() == []
        stored = add_chat_of(database, own, 2, "stored")
        assert http.get(stored).json()["message_count"] == 2
        assert http.get(f"{stored}/messages/2").status_code == 200
        assert [each["number"] for each in http.get(f"{stored}/messages?after=1").json()] == [2]
        assert http.get(f"{own}/chats?sort=-last_message").json()[0]["number"] == 1
        export = http.get(f"{own}/export").text
        assert export.endswith('{"type":"end","chats":1,"messages":2}\n')
        # A change, and the entity tag that the next one needs.
        message = f"{chat}/messages/3"
        tag = http.get(message).headers["ETag"]
        edit = http.put(message, json={"body": "Rails"}, headers={"If-Match": tag})
        answer = http.get(message)
        assert answer.json()["body"] == "Rails"
        assert answer.headers["ETag"] == edit.headers["ETag"]
        assert http.get(message, headers={"If-None-Match": tag}).status_code == 200
        late = http.put(message, json={"body": "late"}, headers={"If-Match": tag})
        assert late.status_code == 412
        changed = http.get(f"{chat}/messages?changed_after=0")
        assert [each["body"] for each in changed.json()] == ["Rails"]
        assert changed.headers["X-Last-Change"] == "1"
        assert http.put(chat, json={"name": "named"}).status_code == 200
        assert http.get(chat).json()["name"] == "named"
        # What was deleted is gone with the answer.
        assert http.delete(message).status_code == 204
        assert http.get(message).json()["body"] == ""
        assert "Rails" not in http.get(f"{chat}/messages").text
        assert http.delete(chat).status_code == 204
        assert http.get(message).status_code == 410
        assert http.get(f"{chat}/messages").status_code == 410
        assert http.get(f"{chat}/messages/search?keyword=Ruby").status_code == 410
        assert http.delete(application).status_code == 202
        for path in (application, f"{application}/chats", f"{application}/export", message):
            assert http.get(path).status_code == 404, path
        assert not lags or number_of_chats(standby) == 1
    assert (statements(server) - before)["primary" if lags else "replica"] > 0


@pytest.mark.parametrize("lags", [True, False], ids=["a replica that lags", "one that does not"])
def test_a_rotated_token_is_404_at_once(
    http_client: httpx.Client, standby: Standby, chat: str, lags: bool
) -> None:
    application = chat.removesuffix("/chats/1")
    standby.catch_up()
    with standby.lagging() if lags else nullcontext():
        rotated = http_client.post(f"{application}/rotate", headers={"Idempotency-Key": "k"})
        assert rotated.status_code == 200
        current = f"/applications/{rotated.json()['access_token']}"
        for path in paths(chat).values():
            if path.startswith(application) and "?" not in path:
                assert http_client.get(path).status_code in {404, 400}, path
        assert http_client.get(current).json() == rotated.json()
        assert len(http_client.get(f"{current}/chats/1/messages").json()) == 7


def test_an_event_of_a_stream_names_what_a_read_finds(
    http_client: httpx.Client, standby: Standby, chat: str
) -> None:
    standby.catch_up()
    stream = f"{chat}/messages/stream?after=7"
    with standby.lagging(), http_client.stream("GET", stream) as events:
        lines = events.iter_lines()
        assert "event: ready" in (next(lines), next(lines))
        assert http_client.put(f"{chat}/messages/2", json={"body": "edited"}).status_code == 200
        line = next(line for line in lines if line.startswith("data: ") and "edited" in line)
        assert '"number":2' in line
        assert http_client.get(f"{chat}/messages/2").json()["body"] == "edited"


def test_a_list_that_waited_has_what_it_waited_for(
    http_client: httpx.Client, standby: Standby, database: Database, application: str
) -> None:
    chat = add_chat_of(database, application, 1)
    standby.catch_up()
    add = """
    WITH chat AS (
        UPDATE chats SET message_count = 2, highest_number = 2 WHERE number = 1 RETURNING id)
    INSERT INTO messages (chat_id, number, body) SELECT id, 2, 'second' FROM chat
    """
    with standby.lagging(), ThreadPoolExecutor(1) as other:
        found = other.submit(http_client.get, f"{chat}/messages?after=1&wait=10")
        time.sleep(0.3)
        database.execute(add)
        assert [each["body"] for each in found.result().json()] == ["second"]


def test_sequences_are_seeded_from_the_primary(
    http_client: httpx.Client, standby: Standby, database: Database, chat: str
) -> None:
    standby.catch_up()
    path = f"/internal/sequences/{token_of(chat.removesuffix('/chats/1'))}/1"
    with standby.lagging():
        database.execute("INSERT INTO messages (chat_id, number, body) SELECT id, 8, '' FROM chats")
        headers = {"Authorization": f"Bearer {INTERNAL_TOKEN}"}
        assert http_client.get(path, headers=headers).json()[HIGHEST_NUMBER] == 8


def test_a_number_on_its_way_is_not_stored_yet(
    http_client: httpx.Client, standby: Standby, clean_crud: dict[str, str], chat: str
) -> None:
    token = token_of(chat.removesuffix("/chats/1"))
    with redis.Redis.from_url(clean_crud["REDIS_URL"]) as numbers:
        numbers.set(keys.message_sequence(token, 1), 8)
    standby.catch_up()
    with standby.lagging():
        answer = http_client.get(f"{chat}/messages/8")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_stored_yet")


def test_a_replica_that_lags_delays_only_a_few_and_is_used_again(
    server: CrudServer, http_client: httpx.Client, standby: Standby, chat: str
) -> None:
    standby.catch_up()
    logged = len(server.output())
    with standby.lagging():
        http_client.put(f"{chat}/messages/1", json={"body": "ahead"})
        for _ in range(20):
            assert http_client.get(f"{chat}/messages/1").status_code == 200
        wait_for_replica(server, 0)
        answer = http_client.get("/health/ready").json()
        assert answer["status"] == "degraded"
        assert answer["dependencies"]["replica"]["status"] == "unavailable"

    def read() -> Counter[str]:
        wait_for_replica(server)
        before = statements(server)
        assert http_client.get(f"{chat}/messages/1").json()["body"] == "ahead"
        return statements(server) - before

    assert undisturbed(read) == {"replica": 1}
    log = server.output()[logged:]
    assert '"reads go to the primary", "reason": "the replica lags behind the primary"' in log
    told = TURNS.findall(log)
    # Neither each read nor each trial says so again.
    assert all(one != other for one, other in pairwise(told)), told
    assert (told[0], told[-1]) == ("primary", "replica")


def test_a_replica_that_fails_costs_no_client_an_error(
    crud_server: Callable[..., CrudServer], standby: Standby, chat: str
) -> None:
    with Breakable(standby.url) as link:
        server = crud_server(DATABASE_READ_URL=link.url)
        wanted = [f"{chat}/messages/1", f"{chat}/messages?limit=2", chat] * 8
        with (
            httpx.Client(base_url=server.url, timeout=15, **PLAIN_HTTP) as client,
            ThreadPoolExecutor(8) as clients,
        ):
            for is_cut in (True, False):
                wait_for_replica(server)
                assert {each.status_code for each in clients.map(client.get, wanted)} == {200}
                if is_cut:
                    link.cut()
                link.frozen = True
                started = time.monotonic()
                assert {each.status_code for each in clients.map(client.get, wanted)} == {200}
                assert time.monotonic() - started < 12
                wait_for_replica(server, 0)
                if is_cut:
                    link.mend()
                link.frozen = False
                wait_for_replica(server)


def test_a_server_that_follows_no_primary_is_not_read(
    crud_server: Callable[..., CrudServer], clean_crud: dict[str, str], chat: str
) -> None:
    server = crud_server(DATABASE_READ_URL=clean_crud["DATABASE_URL"])
    assert httpx.get(f"{server.url}{chat}", timeout=60, **PLAIN_HTTP).status_code == 200
    wait_until(lambda: TURNS.findall(server.output()) == ["primary"], KEPT_UP_SECONDS)
    assert httpx.get(f"{server.url}{chat}", timeout=60, **PLAIN_HTTP).status_code == 200
    assert "chat_replica_up 0.0" in metrics(server)
    assert statements(server) == {"primary": 2}


def test_nobody_reads_the_past_while_a_replica_falls_behind_and_dies(
    server: CrudServer, standby: Standby, database: Database, application: str
) -> None:
    """Eight clients change a message each and read it back, in turn alone and in a list."""
    chat = add_chat_of(database, application, 8)
    standby.catch_up()
    over, before = threading.Event(), statements(server)

    def write_and_read(number: int) -> int:
        path, rounds = f"{chat}/messages/{number}", 0
        listed = f"{chat}/messages?after={number - 1}&limit=1"
        with httpx.Client(base_url=server.url, timeout=30, **PLAIN_HTTP) as client:
            while not over.is_set():
                body = f"{number}: {rounds}"
                assert client.put(path, json={"body": body}).status_code == 200
                assert client.get(path).json()["body"] == body
                assert client.get(listed).json()[0]["body"] == body
                rounds += 1
                time.sleep(BETWEEN_ROUNDS_SECONDS)
        return rounds

    with ThreadPoolExecutor(8) as clients:
        running = [clients.submit(write_and_read, number) for number in range(1, 9)]
        try:
            trouble(server, standby, lambda: any(each.done() for each in running))
        finally:
            over.set()
        assert all(each.result() > 5 for each in running)
    answered = statements(server) - before
    assert min(answered["replica"], answered["primary"]) > 20


def trouble(server: CrudServer, standby: Standby, is_over: Callable[[], bool]) -> None:
    """Have the standby lag for moments, and once kill it; each time it is used again."""
    chance = random.Random(1)
    for turn in range(5):
        if is_over():
            return
        if turn == 2:
            standby.kill()
            time.sleep(1)
            standby.start()
        with standby.lagging():
            time.sleep(chance.uniform(0.05, 1.0))
        wait_for_replica(server)
        time.sleep(chance.uniform(0.1, 0.5))
