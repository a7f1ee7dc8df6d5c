"""What one application can do to others: slow requests, stalled readers, passwords."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from functools import partial

import httpx
import psycopg
import pytest

from contract.sequences import ACCESS_TOKENS, applications_path
from local_stack.ports import PLAIN_HTTP
from tests.conftest import INTERNAL_TOKEN
from tests.integration.conftest import CrudServer, crud_servers
from tests.integration.crud_rows import Database, add_chat_of
from tests.polling import eventually, wait_until

KIB_64 = 65_536
# An operator waits for fewer guesses than these, of which one a second is looked at.
GUESSES = 15


@pytest.fixture(scope="module")
def impatient_server(crud: dict[str, str]) -> Iterator[CrudServer]:
    """A server that waits for a reader that stands still for a shorter time than in production."""
    with crud_servers(crud) as start:
        yield start(patience="6")


@pytest.fixture
def other(http: httpx.Client, database: Database) -> str:
    """The messages of a chat of another application."""
    token = http.post("/applications", json={"name": "Another"}).json()["access_token"]
    return f"{add_chat_of(database, f'/applications/{token}', 3)}/messages"


@pytest.fixture
def standing_still() -> Iterator[Callable[[CrudServer, str], socket.socket]]:
    """Request something and read only the first line of the response."""
    with ExitStack() as connections:

        def ask(server: CrudServer, path: str) -> socket.socket:
            connection = socket.socket()
            connections.enter_context(connection)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(40)
            connection.connect(("127.0.0.1", server.port))
            head = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            connection.sendall(head.encode())
            return connection

        yield ask


def status_of(connection: socket.socket) -> int:
    return int(connection.recv(12)[9:])


def test_unread_lists_of_one_application_take_no_place_of_another(
    server: CrudServer,
    client: httpx.Client,
    database: Database,
    application: str,
    other: str,
    standing_still: Callable[[CrudServer, str], socket.socket],
) -> None:
    path = f"{add_chat_of(database, application, 300, 'x' * KIB_64)}/messages"
    readers = [standing_still(server, path) for _ in range(20)]
    statuses = [status_of(reader) for reader in readers]
    assert sorted(statuses) == [200] * 10 + [503] * 10
    refused = client.get(f"{server.url}{path}")
    assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
    assert refused.headers["Retry-After"] == "1"
    assert client.get(f"{server.url}{path}?limit=2").status_code == 200
    assert len(client.get(f"{server.url}{other}").json()) == 3
    for reader in readers:
        reader.close()
    wait_until(lambda: client.head(f"{server.url}{path}").status_code != 503, 60, pause=0.1)
    assert len(client.get(f"{server.url}{path}").json()) == 300


def count_to_end(connection: socket.socket) -> int:
    """Return the number of bytes received before the server closes the connection."""
    received = 0
    with suppress(ConnectionResetError):
        while data := connection.recv(1 << 20):
            received += len(data)
    return received


@pytest.mark.parametrize(
    ("query", "places"),
    [("", 10), ("?limit=1000", 40), ("/search?keyword=lorem&limit=1000", 2)],
)
def test_stalled_readers_are_disconnected_and_free_their_places(
    impatient_server: CrudServer,
    client: httpx.Client,
    database: Database,
    application: str,
    clean_crud: dict[str, str],
    standing_still: Callable[[CrudServer, str], socket.socket],
    query: str,
    places: int,
) -> None:
    """The clients keep their connections open throughout."""
    from crud_service.search.feed.outbox import index_batch

    server = impatient_server
    path = f"{add_chat_of(database, application, 200, 'lorem ipsum ' * 5000)}/messages{query}"
    with psycopg.connect(clean_crud["DATABASE_URL"], autocommit=True) as connection:
        while "search" in query and index_batch(connection, hand_on=False):
            pass
    readers = [standing_still(server, path) for _ in range(places)]
    assert {status_of(reader) for reader in readers} == {200}
    # On a busy machine the first of them may have been disconnected before the last came.
    for _ in range(places):
        if client.get(f"{server.url}{path}").status_code == 503:
            break
        readers.append(standing_still(server, path))
    else:
        pytest.fail("there is always another place")
    answer = eventually(
        lambda: client.get(f"{server.url}{path}"), lambda it: it.status_code != 503, 40, pause=0.2
    )
    assert answer.status_code == 200
    for reader in readers:
        # One that reads on before it is disconnected stands still no longer.
        wait_until(lambda reader=reader: not server.is_connected(reader), 40)
        assert count_to_end(reader) < len(answer.content)


def test_unread_pages_cost_one_piece_each(
    server: CrudServer,
    client: httpx.Client,
    database: Database,
    application: str,
    standing_still: Callable[[CrudServer, str], socket.socket],
) -> None:
    path = f"{add_chat_of(database, application, 200, 'x' * KIB_64)}/messages?limit=200"
    assert len(client.get(f"{server.url}{path}").json()) == 200
    before = server.resident_kib()
    readers = [standing_still(server, path) for _ in range(25)]
    assert {status_of(reader) for reader in readers} == {200}
    time.sleep(1)
    assert server.resident_kib() - before < 64 * 1024  # all of it would be 325 MiB and more
    assert client.get(f"{server.url}/health/live").status_code == 200


def seconds_of(client: httpx.Client, url: str) -> float:
    started = time.monotonic()
    assert client.get(url).status_code == 200
    return time.monotonic() - started


def test_slow_requests_of_one_application_leave_threads_to_another(
    server: CrudServer,
    client: httpx.Client,
    database: Database,
    application: str,
    other: str,
    clean_crud: dict[str, str],
) -> None:
    message = f"{server.url}{add_chat_of(database, application, 1)}/messages/1"
    with (
        psycopg.connect(clean_crud["DATABASE_URL"]) as locking,
        ThreadPoolExecutor(30) as clients,
    ):
        locking.execute("SELECT FROM messages WHERE number = 1 FOR UPDATE")
        put = partial(httpx.put, message, json={"body": "slow"}, timeout=60, **PLAIN_HTTP)
        slow: list[Future[httpx.Response]] = []

        def are_undelayed() -> bool:
            wait(slow)
            slow[:] = [clients.submit(put) for _ in range(30)]
            time.sleep(0.5)
            paths = (f"{other}?limit=2", other, "/applications?limit=1", "/health/ready")
            slowest = max(seconds_of(client, f"{server.url}{path}") for path in paths)
            # Without threads left, each would wait for the end of slow ones, which take 3 s.
            return slowest < 2 and not all(each.done() for each in slow)

        # No slow one is left if the machine stands still for as long.
        assert eventually(are_undelayed, bool, 40)
        locking.rollback()
        assert {each.result().status_code for each in slow} <= {200, 503}


WAITING = "SELECT FROM pg_locks WHERE relation = 'application_totals'::regclass AND NOT granted"


def test_strangers_do_not_delay_the_numbering_service(
    server: CrudServer, client: httpx.Client, application: str, clean_crud: dict[str, str]
) -> None:
    token = application.rpartition("/")[2]
    url = f"{server.url}{applications_path([token])}"
    authorization = {"Authorization": f"Bearer {INTERNAL_TOKEN}"}
    with (
        psycopg.connect(clean_crud["DATABASE_URL"]) as locking,
        ThreadPoolExecutor(60) as strangers,
    ):
        locking.execute("LOCK application_totals IN EXCLUSIVE MODE")
        create = partial(httpx.post, json={"name": "Slow"}, timeout=60, **PLAIN_HTTP)
        slow = [strangers.submit(create, f"{server.url}/applications") for _ in range(60)]
        wait_until(lambda: len(locking.execute(WAITING).fetchall()) >= 3, 60)
        assert client.get(url, headers=authorization).json() == {ACCESS_TOKENS: [token]}
        # Behind the strangers, it would have waited for all but six of them, for half a minute.
        assert sum(each.done() for each in slow) < 50
        locking.rollback()


@pytest.fixture
def guessing(own_server: CrudServer, client: httpx.Client) -> Iterator[Callable[[int], list[int]]]:
    """Guess passwords with many clients, again and again; the list receives the statuses."""
    page = client.get(f"{own_server.url}/admin/login/")
    token = page.text.partition('csrfmiddlewaretoken" value="')[2].partition('"')[0]
    fields = {"username": "admin", "password": "guess", "csrfmiddlewaretoken": token}
    cookies = {"Cookie": f"csrftoken={page.cookies['csrftoken']}"}
    statuses: list[int] = []
    over = threading.Event()

    def guess() -> None:
        with httpx.Client(timeout=60, **PLAIN_HTTP, headers=cookies) as guesser:
            while not over.is_set():
                statuses.append(
                    guesser.post(f"{own_server.url}/admin/login/", data=fields).status_code
                )
                time.sleep(0.1)

    with ThreadPoolExecutor(60) as clients:

        def start(number: int) -> list[int]:
            for _ in range(number):
                clients.submit(guess)
            assert eventually(lambda: statuses.count(200), bool, 60), "no guess was looked at"
            return statuses

        yield start
        over.set()
        own_server.kill()  # nobody waits for the guesses that wait for their turn


@pytest.fixture
def operator(own_server: CrudServer) -> Iterator[httpx.Client]:
    """The operator's browser."""
    from crud_service.operators.management.commands.ensure_admin import ensure_admin

    ensure_admin("the right password", reset_password=True)
    with httpx.Client(base_url=own_server.url, timeout=120, **PLAIN_HTTP) as browser:
        yield browser


def log_in(operator: httpx.Client) -> int:
    page = operator.get("/admin/login/")
    token = page.text.partition('csrfmiddlewaretoken" value="')[2].partition('"')[0]
    fields = {"username": "admin", "password": "the right password", "csrfmiddlewaretoken": token}
    return operator.post("/admin/login/?next=/admin/", data=fields).status_code


def test_failed_logins_delay_nobody_else_and_no_operator_who_logged_in_before(
    own_server: CrudServer,
    client: httpx.Client,
    application: str,
    operator: httpx.Client,
    guessing: Callable[[int], list[int]],
) -> None:
    assert log_in(operator) == 302
    started = time.monotonic()
    statuses = guessing(60)
    for _ in range(10):
        asked = time.monotonic()
        assert client.get(f"{own_server.url}/applications?limit=1").status_code == 200
        assert client.get(f"{own_server.url}/health/live").status_code == 200
        assert operator.get("/admin/").status_code == 200
        # Sixty guesses take a minute; these do not wait for them.
        assert time.monotonic() - asked < 10
    assert set(statuses) <= {200, 503}
    assert statuses.count(200) <= time.monotonic() - started + 4  # one a second
    del operator.cookies["sessionid"]
    before = statuses.count(200)
    assert log_in(operator) == 302
    assert statuses.count(200) - before < GUESSES


def test_strangers_requesting_the_login_page_delay_no_operator(
    own_server: CrudServer, operator: httpx.Client
) -> None:
    assert log_in(operator) == 302
    over = threading.Event()

    def ask() -> None:
        with httpx.Client(timeout=60, **PLAIN_HTTP) as stranger:
            while not over.is_set():
                stranger.get(f"{own_server.url}/admin/login/")

    with ThreadPoolExecutor(40) as strangers:
        for _ in range(40):
            strangers.submit(ask)
        time.sleep(1)
        try:
            assert {operator.get("/admin/").status_code for _ in range(5)} == {200}
        finally:
            over.set()


def test_the_right_password_gets_its_turn_among_wrong_ones(
    operator: httpx.Client, guessing: Callable[[int], list[int]]
) -> None:
    statuses = guessing(6)
    before = statuses.count(200)
    assert log_in(operator) == 302
    assert statuses.count(200) - before < GUESSES


@pytest.mark.parametrize(
    "query",
    ["limit=60", "limit=60&order=desc", "limit=40&after=10", "limit=40&before=45&order=asc",
     "limit=50&after=2&before=55&order=desc"],
)  # fmt: skip
def test_a_page_in_pieces_is_the_page(
    http: httpx.Client, database: Database, application: str, query: str
) -> None:
    """The same page of short messages supplies the expected numbers and headers."""
    path = f"{add_chat_of(database, application, 60, 'short')}/messages?{query}"
    short = http.get(path)
    assert "Content-Length" in short.headers
    database.execute("UPDATE messages SET body = repeat(chr(64 + number::int % 50), 60000)")
    long = http.get(path)
    assert "Content-Length" not in long.headers
    assert [m["number"] for m in long.json()] == [m["number"] for m in short.json()]
    assert all(m["body"] == chr(64 + m["number"] % 50) * 60_000 for m in long.json())
    for name in ("Link", "X-Total-Count"):
        assert long.headers.get(name) == short.headers.get(name)


def test_a_page_of_applications_in_pieces_is_the_page(
    http: httpx.Client, database: Database
) -> None:
    database.execute(
        "INSERT INTO applications (access_token, name)"
        " SELECT lpad(n::text, 24, 'A'), repeat(U&'\\+01F642', 255) FROM generate_series(1, 1000) n"
    )
    answer = http.get("/applications?limit=1000&order=desc")
    assert "Content-Length" not in answer.headers
    tokens = [each["access_token"][-4:].strip("A") for each in json.loads(answer.content)]
    assert tokens == [str(n) for n in range(1000, 0, -1)]
    assert answer.headers["X-Total-Count"] == "1000"


def test_unread_large_searches_are_few(
    server: CrudServer,
    client: httpx.Client,
    database: Database,
    application: str,
    clean_crud: dict[str, str],
    standing_still: Callable[[CrudServer, str], socket.socket],
) -> None:
    from crud_service.search.feed.outbox import index_batch

    chat = add_chat_of(database, application, 200, "lorem ipsum " * 5000)
    with psycopg.connect(clean_crud["DATABASE_URL"], autocommit=True) as connection:
        while index_batch(connection, hand_on=False):
            pass
    path = f"{chat}/messages/search?keyword=lorem&limit=200"
    assert len(client.get(f"{server.url}{path}").json()) > 100
    before = server.resident_kib()
    readers = [standing_still(server, path) for _ in range(40)]
    assert sorted(status_of(reader) for reader in readers) == [200] * 2 + [503] * 38
    assert server.resident_kib() - before < 150 * 1024
    short = client.get(f"{server.url}{path}&sort=number&limit=1")
    assert len(short.json()) == 1


def test_large_searches_at_the_same_time_fit_in_memory(
    crud_server: Callable[..., CrudServer],
    http: httpx.Client,
    database: Database,
    clean_crud: dict[str, str],
) -> None:
    from crud_service.search.feed.outbox import index_batch

    paths = []
    for _ in range(4):
        token = http.post("/applications", json={"name": "x"}).json()["access_token"]
        chat = add_chat_of(database, f"/applications/{token}", 400, "lorem ipsum " * 5400)
        paths.append(f"{chat}/messages/search?keyword=lorem&limit=1000")
    with psycopg.connect(clean_crud["DATABASE_URL"], autocommit=True) as connection:
        while index_batch(connection, hand_on=False):
            pass

    for highlight in ("false", "true"):
        searches = [f"{path}&highlight={highlight}" for path in paths * 4]
        assert growth_by(crud_server(), searches) < 160 * 1024  # whole pages took 500 MiB and more


def growth_by(server: CrudServer, paths: list[str]) -> int:
    """Return by how many KiB a server grows while eight clients search."""

    def search(path: str) -> int:
        return httpx.get(f"{server.url}{path}", timeout=60, **PLAIN_HTTP).status_code

    before = server.resident_kib()
    with ThreadPoolExecutor(8) as clients:
        statuses = list(clients.map(search, paths))
    assert statuses.count(200) > 0
    assert set(statuses) <= {200, 503}
    return server.peak_resident_kib() - before
