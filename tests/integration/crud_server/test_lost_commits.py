"""A connection dies between COMMIT and reply: what the response says about the change is true."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import httpx
import psycopg
import pytest

from tests.integration.conftest import CrudServer, crud_servers
from tests.integration.crud_rows import Database, add_chat_of
from tests.integration.crud_server.lost_commits import LostCommits


class Lossy(NamedTuple):
    """A server, and the proxy between it and PostgreSQL."""

    server: CrudServer
    postgres: LostCommits


@contextmanager
def lossy_server(stores: Mapping[str, str]) -> Iterator[Lossy]:
    with LostCommits(stores["DATABASE_URL"]) as postgres, crud_servers(stores) as start:
        yield Lossy(start(DATABASE_URL=postgres.url), postgres)


@pytest.fixture(scope="module")
def shared(crud: dict[str, str]) -> Iterator[Lossy]:
    with lossy_server(crud) as running:
        yield running


@pytest.fixture
def own(clean_crud: dict[str, str]) -> Iterator[Lossy]:
    with lossy_server(clean_crud) as running:
        yield running


@pytest.fixture
def lossy(request: pytest.FixtureRequest, clean_crud: dict[str, str]) -> Lossy:
    """The server that tests share, unless a test asks for its own.

    A test needs its own if no connection to PostgreSQL may be there before, or if it leaves dead
    ones behind.
    """
    found: Lossy = request.getfixturevalue(getattr(request, "param", "shared"))
    found.postgres.answers = found.postgres.commits = 0
    found.postgres.meanwhile = lambda: None
    return found


with_own_server = pytest.mark.parametrize("lossy", ["own"], indirect=True)


@pytest.fixture
def postgres(lossy: Lossy) -> LostCommits:
    return lossy.postgres


@pytest.fixture
def server(lossy: Lossy) -> CrudServer:
    return lossy.server


@pytest.fixture(params=["message", "application"])
def resource(
    request: pytest.FixtureRequest, server: CrudServer, database: Database, application: str
) -> tuple[str, str]:
    """The address of a resource that can be changed, and its field."""
    if request.param == "application":
        return f"{server.url}{application}", "name"
    return f"{server.url}{add_chat_of(database, application, 1, 'before')}/messages/1", "body"


@pytest.mark.parametrize(
    ("lossy", "warm"),
    [("shared", True), ("own", False)],
    indirect=["lossy"],
    ids=["used connection", "fresh connection"],
)
def test_a_committed_change_with_if_match_is_answered_200(
    postgres: LostCommits, client: httpx.Client, resource: tuple[str, str], warm: bool
) -> None:
    url, field = resource
    if warm:
        client.put(url, json={field: "something else"})
    tag = client.get(url).headers["ETag"]
    postgres.answers = 1
    answer = client.put(url, json={field: "after"}, headers={"If-Match": tag})
    assert (answer.status_code, answer.json().get(field)) == (200, "after"), answer.text
    assert postgres.answers == 0
    read = client.get(url)
    assert (read.content, read.headers["ETag"]) == (answer.content, answer.headers["ETag"])


def test_a_committed_change_is_answered_as_made_whatever_followed(
    postgres: LostCommits, client: httpx.Client, database: Database, resource: tuple[str, str]
) -> None:
    url, field = resource
    tag = client.get(url).headers["ETag"]
    table = "messages" if field == "body" else "applications"
    change = f"UPDATE {table} SET {field} = 'theirs', updated_at = now() + interval '1 minute'"
    postgres.answers, postgres.meanwhile = 1, lambda: database.execute(change)
    answer = client.put(url, json={field: "mine"}, headers={"If-Match": tag})
    assert (answer.status_code, answer.json()[field]) == (200, "mine")
    assert client.get(url).json()[field] == "theirs"


def test_a_change_whose_commit_did_not_arrive_is_retried(
    postgres: LostCommits, client: httpx.Client, resource: tuple[str, str]
) -> None:
    url, field = resource
    client.put(url, json={field: "something else"})
    tag = client.get(url).headers["ETag"]
    postgres.commits = 1
    answer = client.put(url, json={field: "after"}, headers={"If-Match": tag})
    assert (answer.status_code, answer.json().get(field)) == (200, "after"), answer.text
    assert client.get(url).content == answer.content


def test_a_change_overtaken_before_it_was_made_is_412(
    postgres: LostCommits, client: httpx.Client, database: Database, resource: tuple[str, str]
) -> None:
    url, field = resource
    client.put(url, json={field: "something else"})
    tag = client.get(url).headers["ETag"]
    table = "messages" if field == "body" else "applications"
    change = f"SET lock_timeout = '5s'; UPDATE {table} SET {field} = 'theirs'"
    overtaking: list[object] = []

    def overtake() -> None:
        # Waits for the lock of the change that is about to be rolled back.
        import threading

        thread = threading.Thread(target=lambda: database.execute(change))
        thread.start()
        overtaking.append(thread)

    postgres.commits, postgres.meanwhile = 1, overtake
    answer = client.put(url, json={field: "mine"}, headers={"If-Match": tag})
    overtaking[0].join()  # type: ignore[attr-defined]
    assert answer.status_code in {200, 412}  # whichever of the two came first
    expected = {"theirs"} if answer.status_code == 412 else {"theirs", "mine"}
    assert client.get(url).json()[field] in expected


@with_own_server
def test_an_unknown_outcome_is_reported_as_unknown_and_what_never_began_as_no_change(
    postgres: LostCommits, client: httpx.Client, resource: tuple[str, str]
) -> None:
    url, field = resource
    client.get(url)
    postgres.answers, postgres.then_refuse = 1, True
    answer = client.put(url, json={field: "after"})
    assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
    assert "the outcome is not known" in answer.json()["detail"]
    assert "nothing was changed" not in answer.json()["detail"]
    assert answer.headers["Retry-After"] == "1"
    postgres.cut()
    assert "nothing was changed" in client.put(url, json={field: "after"}).json()["detail"]
    assert "changed" not in client.get(url).json()["detail"]


@pytest.mark.parametrize("lost", ["answers", "commits"])
def test_an_application_is_created_once(
    server: CrudServer, postgres: LostCommits, client: httpx.Client, lost: str
) -> None:
    url = f"{server.url}/applications"
    setattr(postgres, lost, 1)
    created = client.post(url, json={"name": "mine"})
    assert created.status_code == 201
    assert client.get(url).json() == [created.json()]
    assert client.get(created.headers["Location"]).headers["ETag"] == created.headers["ETag"]


def test_sending_the_same_text_again_is_neither_a_change_nor_an_error(
    postgres: LostCommits, client: httpx.Client, resource: tuple[str, str]
) -> None:
    url, field = resource
    client.put(url, json={field: "same"})
    before = client.get(url)
    postgres.answers = 1
    answer = client.put(url, json={field: "same"}, headers={"If-Match": before.headers["ETag"]})
    assert (answer.status_code, answer.content) == (200, before.content)


def test_looking_up_a_commit_that_is_held_up_takes_one_connection(
    http: httpx.Client, clean_crud: dict[str, str]
) -> None:
    from crud_service.stores.transactions import TRANSACTION, Outcome, look_up

    count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'crud_service'"
    url = clean_crud["DATABASE_URL"]
    # A transaction sees the activity as it was when it first looked.
    with psycopg.connect(url, autocommit=True) as looking, psycopg.connect(url) as held_up:
        [(transaction_id,)] = held_up.execute(f"SELECT {TRANSACTION}").fetchall()
        [(before,)] = looking.execute(count).fetchall()
        assert look_up(transaction_id.encode()) is Outcome.UNKNOWN
        [(after,)] = looking.execute(count).fetchall()
    assert after <= before + 1


def test_the_id_of_a_transaction_means_nothing_on_another_timeline(
    http: httpx.Client, clean_crud: dict[str, str]
) -> None:
    from crud_service.stores.transactions import TRANSACTION, Outcome, look_up

    with psycopg.connect(clean_crud["DATABASE_URL"]) as committed:
        [(transaction_id,)] = committed.execute(f"SELECT {TRANSACTION}").fetchall()
    timeline, number = transaction_id.split("/")
    promoted = f"{int(timeline, 16) + 1:08X}"
    assert look_up(transaction_id.encode()) is Outcome.COMMITTED
    assert look_up(f"{promoted}/{number}".encode()) is Outcome.UNKNOWN


def interrupt_next_command(connection: psycopg.Connection[Any]) -> None:
    """Have psycopg fail between sending the next command and waiting for the answer.

    It does so if a reset of the connection arrives in that instant, which no test can time.
    """

    def wait(command: Iterator[object], **_: object) -> object:
        next(command)
        del connection.wait
        raise psycopg.OperationalError("connection socket closed")

    connection.wait = wait


def test_a_connection_with_an_unanswered_command_is_not_used_again(
    http: httpx.Client, clean_crud: dict[str, str]
) -> None:
    from crud_service.stores.database import fetch_value, run
    from web.problems import StoreUnavailable

    def read(connection: psycopg.Connection[Any]) -> None:
        interrupt_next_command(connection)
        connection.execute("SELECT 1")

    with pytest.raises(StoreUnavailable):
        run(read)
    assert fetch_value("SELECT 1") == 1


def test_the_outcome_of_a_commit_is_looked_up_although_its_connection_seems_open(
    http: httpx.Client, clean_crud: dict[str, str], database: Database, application: str
) -> None:
    from crud_service.stores.transactions import TRANSACTION, Written, change

    def rename(connection: psycopg.Connection[Any]) -> Written[str]:
        update = f"UPDATE applications SET name = 'after' RETURNING {TRANSACTION}"
        [(transaction_id,)] = connection.execute(update).fetchall()
        interrupt_next_command(connection)
        return Written("renamed", transaction_id)

    assert change(rename) == "renamed"
    assert database.execute("SELECT name FROM applications").fetchall() == [("after",)]
