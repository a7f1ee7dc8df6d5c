"""The process: how it reads bodies, streams lists, logs, stops and dies."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from secrets import token_hex

import httpx
import pytest

from tests.integration.conftest import CrudServer, crud_servers
from tests.integration.crud_rows import Database, add_chat_of
from tests.log_lines import Line, json_lines
from tests.polling import eventually, wait_until
from tests.stopwatch import Stopwatch
from web.fields import MAX_REQUEST_BYTES

MEBIBYTE = 1024 * 1024
# Headers that differ between any two responses, and paths whose text does: it has figures.
OF_ONE_ANSWER = {"x-request-id", "date", "expires", "set-cookie"}
WITH_FIGURES = {"/health/ready", "/metrics"}


@pytest.fixture(scope="module")
def impatient_server(crud: dict[str, str]) -> Iterator[CrudServer]:
    """A server that waits for a reader that stands still for a shorter time than in production."""
    with crud_servers(crud) as start:
        yield start(patience="4")


@pytest.fixture
def chat(database: Database, application: str) -> str:
    return add_chat_of(database, application, 3)


def connect(server: CrudServer, *lines: str) -> socket.socket:
    """A connection on which a request has begun."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    connection.sendall("\r\n".join([*lines, "Host: crud", "", ""]).encode())
    return connection


def read_to_end(connection: socket.socket) -> bytes:
    received = b""
    with connection:
        while chunk := connection.recv(65536):
            received += chunk
    return received


def send_without_end(connection: socket.socket) -> int:
    """Send chunks until the other side closes the connection; return the number of bytes."""
    sent = 0
    with suppress(BrokenPipeError, ConnectionResetError):
        while sent < 64 * MEBIBYTE:
            connection.sendall(b"10000\r\n" + b" " * 65536 + b"\r\n")
            sent += 65536
            time.sleep(0.001)
    return sent


def test_an_endless_body_is_cut_off_while_it_arrives(server: CrudServer, chat: str) -> None:
    connection = connect(server, f"PUT {chat}/messages/1 HTTP/1.1", "Transfer-Encoding: chunked")
    sent = send_without_end(connection)
    assert sent < 16 * MEBIBYTE
    assert read_to_end(connection).startswith(b"HTTP/1.1 413 ")


def test_a_body_declared_too_long_is_refused_before_it_arrives(
    server: CrudServer, chat: str
) -> None:
    connection = connect(
        server, f"PUT {chat}/messages/1 HTTP/1.1", f"Content-Length: {MEBIBYTE + 1}"
    )
    assert connection.recv(13) == b"HTTP/1.1 413 "
    connection.close()


def test_slow_clients_do_not_delay_others(
    server: CrudServer, client: httpx.Client, chat: str
) -> None:
    path = f"{chat}/messages/1"
    slow = [connect(server, f"PUT {path} HTTP/1.1", "Content-Length: 99") for _ in range(40)]
    time.sleep(0.3)
    started = time.monotonic()
    assert client.get(f"{server.url}{path}").status_code == 200
    assert time.monotonic() - started < 10  # the slow ones are waited for much longer
    for connection in slow:
        connection.close()
    time.sleep(0.3)
    assert client.put(f"{server.url}{path}", json={"body": "x"}).status_code == 200


def test_readers_that_stop_halfway_release_their_threads(
    server: CrudServer, client: httpx.Client, database: Database, application: str
) -> None:
    path = f"{add_chat_of(database, application, 20_000, 'x' * 200)}/messages"
    for _ in range(3):
        readers = [connect(server, f"GET {path} HTTP/1.1") for _ in range(12)]
        time.sleep(0.3)
        assert client.get(f"{server.url}{path}?limit=1").status_code == 200
        for reader in readers:
            reader.close()
    answer = eventually(
        lambda: client.get(f"{server.url}{path}"), lambda it: it.status_code == 200, 20
    )
    assert len(answer.json()) == 20_000


def test_a_list_of_100_000_streams_at_once_and_in_flat_memory(
    own_server: CrudServer, client: httpx.Client, database: Database, application: str
) -> None:
    path = f"{own_server.url}{add_chat_of(database, application, 100_000, 'x' * 100)}/messages"
    client.get(f"{path}?limit=1000")
    before, highest = own_server.resident_kib(), 0
    started = time.monotonic()
    with client.stream("GET", path) as answer:
        chunks = answer.iter_raw()
        received = bytearray(next(chunks))
        first_byte = time.monotonic() - started
        for position, chunk in enumerate(chunks):
            received += chunk
            if position % 20 == 0:
                highest = max(highest, own_server.resident_kib())
        whole = time.monotonic() - started
    assert [item["number"] for item in json.loads(received)] == list(range(1, 100_001))
    # Not after the whole list was made; on a busy machine both take longer.
    assert first_byte < whole / 3
    assert highest - before < 20 * 1024


def test_a_truncated_list_does_not_look_complete(
    server: CrudServer, client: httpx.Client, database: Database, application: str
) -> None:
    path = f"{server.url}{add_chat_of(database, application, 30_000, 'x' * 1000)}/messages"
    with client.stream("GET", path) as answer:
        chunks = answer.iter_raw()
        next(chunks)
        database.execute("ALTER TABLE messages RENAME COLUMN body TO renamed")
        try:
            with pytest.raises(httpx.RemoteProtocolError):
                b"".join(chunks)
        finally:
            database.execute("ALTER TABLE messages RENAME COLUMN renamed TO body")
    wait_until(lambda: "a response was cut short" in server.output(), 60)


@pytest.mark.parametrize("resource", ["chats/1/messages", "export"])
def test_what_disappears_while_it_is_read_is_no_error_of_the_server(
    server: CrudServer, client: httpx.Client, database: Database, application: str, resource: str
) -> None:
    """Clients can make this happen as often as they like."""
    add_chat_of(database, application, 30_000, "x" * 1000)
    with client.stream("GET", f"{server.url}{application}/{resource}") as answer:
        received = answer.iter_raw()
        next(received)
        token = application.split("/")[-1]
        database.execute(
            "UPDATE applications SET access_token = %s WHERE access_token = %s", ("y" * 24, token)
        )
        with pytest.raises(httpx.RemoteProtocolError):
            b"".join(received)

    def cut_short() -> list[Line]:
        own = json_lines(server.log, containing=answer.headers["X-Request-ID"])
        return [line for line in own if line["message"] == "a response was cut short"]

    [line] = eventually(cut_short, bool, 60)
    assert (line["level"], line["reason"]) == ("info", "not_found")
    assert "exception" not in line


def test_every_request_is_one_line_of_json_without_tokens_and_an_idle_server_ends_at_once(
    own_server: CrudServer, client: httpx.Client, chat: str
) -> None:
    token = chat.split("/")[2]
    for path in (chat, f"{chat}/messages", f"{chat}/nothing", f"/applications?after={token}"):
        client.get(f"{own_server.url}{path}", headers={"X-Request-ID": "followed"})
    client.close()
    with Stopwatch() as watch:
        output = own_server.stop()
    assert own_server.process.returncode == 0
    assert watch.seconds < 6  # the busy ones are given eight
    lines = [json.loads(line) for line in output.splitlines()]
    followed = [line for line in lines if line.get("request_id") == "followed"]
    assert [line["status"] for line in followed] == [200, 200, 404, 200]
    assert followed[0]["path"] == f"/applications/{token[:4]}…/chats/1"
    assert followed[0]["method"] == "GET"
    assert followed[0]["duration_ms"] > 0
    assert token[:5] not in output
    assert any("anyone may list and create" in line["message"] for line in lines)


def test_sigterm_finishes_what_runs_and_exits_with_0(own_server: CrudServer, chat: str) -> None:
    head = ("Content-Length: 15", "Expect: 100-continue", "Connection: close")
    connection = connect(own_server, f"PUT {chat}/messages/1 HTTP/1.1", *head)
    assert connection.recv(100).startswith(b"HTTP/1.1 100")
    connection.sendall(b'{"body":')
    own_server.process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    connection.sendall(b'"last"}')
    assert read_to_end(connection).startswith(b"HTTP/1.1 200 ")
    assert own_server.process.wait(30) == 0


def test_a_port_already_in_use_is_named_in_one_line(server: CrudServer) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "crud_service"],
        env={**os.environ, "CRUD_PORT": str(server.port)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert second.returncode == 1
    assert str(server.port) in second.stderr
    assert second.stderr.count("\n") == 1


@pytest.mark.parametrize("content_type", ["application/json; x*=nope''y", "a/b; x*=a; x*0=b"])
def test_no_content_type_causes_a_500(
    server: CrudServer, client: httpx.Client, chat: str, content_type: str
) -> None:
    url, headers = f"{server.url}{chat}/messages/1", {"Content-Type": content_type}
    for method in ("PUT", "GET", "HEAD", "DELETE"):
        answer = client.request(method, url, content=b'{"body":"x"}', headers=headers)
        assert answer.status_code in {200, 204, 415}, method


def test_a_client_that_pipelines_without_reading_is_waited_for(
    server: CrudServer, client: httpx.Client
) -> None:
    """Its requests do not pile up: it cannot send more than its turn."""
    asked = b"GET /health/live HTTP/1.1\r\nHost: crud\r\n\r\n" * 1000
    before = server.resident_kib()
    with socket.create_connection(("127.0.0.1", server.port), timeout=2) as connection:
        sent = 0
        with suppress(TimeoutError):
            while sent < 64 * MEBIBYTE:
                connection.sendall(asked)
                sent += len(asked)
        assert client.get(f"{server.url}/health/live").status_code == 200
    assert sent < 64 * MEBIBYTE
    assert server.resident_kib() - before < 64 * 1024


def test_a_slow_but_steady_reader_gets_all_of_a_long_list(
    impatient_server: CrudServer, database: Database, application: str
) -> None:
    """What counts is progress, however slow."""
    path = f"{add_chat_of(database, application, 60_000, 'x' * 100)}/messages"
    with connect(impatient_server, f"GET {path} HTTP/1.1", "Connection: close") as connection:
        received = 0
        for _ in range(60):
            time.sleep(0.1)
            received += len(connection.recv(20_000))
        rest = read_to_end(connection)
    assert rest.endswith(b"]\r\n0\r\n\r\n")
    assert received + len(rest) > 60_000 * 100


def test_a_stalled_reader_is_disconnected(
    impatient_server: CrudServer, database: Database, application: str
) -> None:
    path = f"{add_chat_of(database, application, 100_000, 'x' * 100)}/messages"
    with connect(impatient_server, f"GET {path} HTTP/1.1") as connection:
        assert connection.recv(13) == b"HTTP/1.1 200 "
        wait_until(lambda: not impatient_server.is_connected(connection), 60)
        assert not read_to_end(connection).endswith(b"0\r\n\r\n")


def test_head_answers_wherever_get_does(
    server: CrudServer, client: httpx.Client, chat: str, application: str
) -> None:
    message = f"{chat}/messages/1"
    paths = [
        *("/applications", application, f"{application}/chats", chat, f"{chat}/messages", message),
        *("/applications?limit=1", f"{chat}/messages?limit=1", f"{chat}/messages/search?keyword=a"),
        *("/health/live", "/health/ready", "/metrics", "/openapi.json", "/docs", "/nothing"),
        *("/static/docs.js", "/admin/login/", f"{message}0", f"{chat}/messages/search"),
    ]
    for path in paths:
        head, get = client.head(f"{server.url}{path}"), client.get(f"{server.url}{path}")
        assert (head.status_code, head.content) == (get.status_code, b""), path
        assert head.headers.keys() == get.headers.keys() - {"transfer-encoding"}, path
        assert client.get(f"{server.url}/health/live").status_code == 200  # nothing in between
        varying = OF_ONE_ANSWER | ({"content-length"} if path in WITH_FIGURES else set())
        for name in head.headers.keys() - varying:
            assert head.headers[name] == get.headers[name], (path, name)


def test_a_request_of_more_than_a_mebibyte_is_413(
    server: CrudServer, client: httpx.Client, chat: str
) -> None:
    url = f"{server.url}{chat}/messages/1"
    answer = client.put(url, content=b" " * (MAX_REQUEST_BYTES + 1))
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    padded = b'{"body":"x"}' + b" " * (MAX_REQUEST_BYTES - 12)
    assert client.put(url, content=padded).status_code == 200


def test_an_answer_204_has_no_length(server: CrudServer, client: httpx.Client, chat: str) -> None:
    url = f"{server.url}{chat}/messages/2"
    answer = client.delete(url)
    assert (answer.status_code, answer.content) == (204, b"")
    # RFC 9110, 8.6: a 204 must not have it; its end is known without.
    assert "Content-Length" not in answer.headers
    assert "Transfer-Encoding" not in answer.headers
    assert client.get(url).json()["body"] == ""  # on the same connection


def test_an_export_that_cannot_begin_is_logged_as_it_is_answered(
    server: CrudServer, client: httpx.Client, database: Database, application: str, chat: str
) -> None:
    request_id = f"locked-{token_hex(8)}"
    with database.transaction():
        database.execute("LOCK TABLE messages IN ACCESS EXCLUSIVE MODE")
        url, headers = f"{server.url}{application}/export", {"X-Request-ID": request_id}
        answer = client.get(url, headers=headers, timeout=60)
    assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
    last = {"X-Request-ID": f"after-{request_id}"}
    assert client.get(f"{server.url}/health/live", headers=last).status_code == 200
    lines = eventually(lambda: json_lines(server.log, request_id), lambda it: len(it) > 1, 60)
    assert [(line["request_id"], line["status"]) for line in lines] == [
        (request_id, 503),
        (last["X-Request-ID"], 200),
    ]


def test_a_path_that_is_logged_in_part_shows_no_more_of_a_token(
    server: CrudServer, client: httpx.Client
) -> None:
    for length in (480, 490, 505, 511):
        token = f"Cut{length}{'x' * 18}"
        assert client.get(f"{server.url}/{'-' * length}/{token}").status_code == 404
    wait_until(lambda: server.output().count("/-----") == 4, 60)
    shown = re.findall('/-+/([^"]*)', server.output())
    assert max(map(len, shown)) <= len("Cut4…")
