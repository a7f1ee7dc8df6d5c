"""The connections to Elasticsearch: kept, and dropped when they are out of step."""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

import pytest
from elastic_transport import ConnectionError, ConnectionTimeout, NodeConfig

from crud_service.search.index.http_node import HttpNode
from tests.integration.search.search_stores import SearchStores

OK = b"HTTP/1.1 200 OK\r\nX-Elastic-Product: Elasticsearch\r\n"
TWO = OK + b"Content-Length: 2\r\n\r\n{}"


class Server:
    """Answers each request with the next bytes; empty ones close, None stays silent."""

    def __init__(self, answers: Sequence[bytes | None]) -> None:
        self.connections = 0
        self._open: list[socket.socket] = []
        self.requests: list[bytes] = []
        self._answers = iter(answers)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                self._open.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            while received := connection.recv(65536):
                self.requests.append(received)
                answer = next(self._answers)
                if answer == b"":
                    return
                connection.sendall(answer or b"")

    def hang_up(self) -> None:
        """End all connections, as a server does with those that were idle for long."""
        for connection in self._open:
            connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def serve() -> Iterator[Callable[..., tuple[Server, HttpNode]]]:
    opened: list[Server | HttpNode] = []

    def start(*answers: bytes | None) -> tuple[Server, HttpNode]:
        server = Server(answers)
        node = HttpNode(NodeConfig("http", "127.0.0.1", server.port, request_timeout=60.0))
        opened.extend((server, node))
        return server, node

    yield start
    for each in opened:
        each.close()


def test_a_connection_is_kept(serve: Callable[..., tuple[Server, HttpNode]]) -> None:
    chunked = OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\n[\r\n1\r\n]\r\n0\r\n\r\n"
    server, node = serve(TWO, chunked, TWO)
    bodies = [node.perform_request("POST", "/_msearch", body=b"{}").body for _ in range(3)]
    assert bodies == [b"{}", b"[]", b"{}"]
    assert server.connections == 1


def test_a_request_is_sent_with_its_exact_head_and_body(
    serve: Callable[..., tuple[Server, HttpNode]],
) -> None:
    server, node = serve(TWO)
    meta, _ = node.perform_request("POST", "/_bulk?refresh=false", body=b"text")
    assert meta.status == 200
    assert meta.headers["x-elastic-product"] == "Elasticsearch"
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /_bulk?refresh=false HTTP/1.1\r\nhost: 127.0.0.1:")
    assert b"content-length: 4" in head
    assert body == b"text"


@pytest.mark.parametrize(
    "first",
    [
        OK + b"Content-Length: 2\r\nConnection: close\r\n\r\n{}",
        OK.replace(b"1.1", b"1.0") + b"Content-Length: 2\r\n\r\n{}",
    ],
)
def test_a_closing_connection_is_not_reused(
    serve: Callable[..., tuple[Server, HttpNode]], first: bytes
) -> None:
    server, node = serve(first, TWO)
    for _ in range(2):
        assert node.perform_request("GET", "/").body == b"{}"
    assert server.connections == 2


def test_a_connection_that_the_server_has_closed_since_is_not_reused(
    serve: Callable[..., tuple[Server, HttpNode]],
) -> None:
    server, node = serve(TWO, TWO)
    assert node.perform_request("GET", "/").body == b"{}"
    server.hang_up()
    assert node.perform_request("GET", "/").body == b"{}"
    assert server.connections == 2


def test_a_head_has_no_body_and_leaves_nothing_behind(
    serve: Callable[..., tuple[Server, HttpNode]],
) -> None:
    _, node = serve(OK + b"Content-Length: 99\r\n\r\n", TWO)
    meta, body = node.perform_request("HEAD", "/messages")
    assert (meta.status, body) == (200, b"")
    assert node.perform_request("GET", "/").body == b"{}"


def test_an_interim_answer_is_not_the_answer(
    serve: Callable[..., tuple[Server, HttpNode]],
) -> None:
    server, node = serve(b"HTTP/1.1 100 Continue\r\n\r\n" + TWO, TWO)
    for _ in range(2):
        assert node.perform_request("GET", "/").body == b"{}"
    assert server.connections == 1


@pytest.mark.parametrize("answer", [b"", OK, TWO[:-1] + b"", b"no HTTP\r\n\r\n", TWO + TWO])
def test_half_an_answer_or_two_is_an_error_and_ends_the_connection(
    serve: Callable[..., tuple[Server, HttpNode]], answer: bytes
) -> None:
    server, node = serve(answer, TWO)
    with pytest.raises((ConnectionError, ConnectionTimeout)):
        node.perform_request("GET", "/", request_timeout=1.0)
    assert node.perform_request("GET", "/").body == b"{}"
    assert server.connections == 2


def test_silence_is_a_timeout(serve: Callable[..., tuple[Server, HttpNode]]) -> None:
    _, node = serve(None)
    with pytest.raises(ConnectionTimeout):
        node.perform_request("GET", "/", request_timeout=0.2)


def test_a_response_that_never_ends_is_a_timeout() -> None:
    def trickle() -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            connection.sendall(OK + b"Content-Length: 1000\r\n\r\n")
            while True:
                time.sleep(0.05)
                connection.sendall(b" ")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=trickle, daemon=True).start()
        node = HttpNode(NodeConfig("http", "127.0.0.1", listener.getsockname()[1]))
        with pytest.raises(ConnectionTimeout):
            node.perform_request("GET", "/", request_timeout=0.2)


@pytest.mark.parametrize(
    "endless",
    [
        b"Transfer-Encoding: chunked\r\n\r\n" + b"ffff\r\n%s\r\n" % (b"x" * 65_535) * 3,
        b"X: %s\r\n" % (b"x" * 1000) * 200,
    ],
    ids=["body", "head"],
)
def test_a_response_that_is_too_large_is_not_read_to_its_end(
    serve: Callable[..., tuple[Server, HttpNode]], monkeypatch: pytest.MonkeyPatch, endless: bytes
) -> None:
    from crud_service.search.index import http_node

    monkeypatch.setattr(http_node, "MOST_BYTES", 100_000)
    _, node = serve(OK + endless)
    with pytest.raises(ConnectionError, match="more than 100000 bytes"):
        node.perform_request("GET", "/")


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (403, b'{"error":{"type":"security_exception"},"status":403}', "403 security_exception"),
        (403, b'{"error":"denied"}', "403"),
        (403, b"<html>denied</html>", "403"),
        (200, b"<html>log in</html>", "200 without results"),
        (200, b"{}", "200 without results"),
        (200, b"null", "200 without results"),
        (200, b'{"responses":[]}', "200 without results"),
        (200, b'{"responses":[{"status":200,"hits":{"hits":[{}]}}]}', "200 without results"),
        (200, b'{"responses":[{"status":200,"hits":', "200 without results"),
    ],
)
def test_a_search_that_is_not_answered_is_logged_with_its_reason(
    serve: Callable[..., tuple[Server, HttpNode]],
    search_stores: SearchStores,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    status: int,
    body: bytes,
    reason: str,
) -> None:
    from django.conf import settings

    from crud_service.search.query.plan import Plan
    from crud_service.search.query.query_elasticsearch import find_hits
    from crud_service.search.text.folding import split_parts

    head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n"
    server, _ = serve(head.encode() + body)
    monkeypatch.setattr(settings, "ELASTICSEARCH_URL", f"http://127.0.0.1:{server.port}")
    assert find_hits(Plan(chat_id=1, parts=split_parts("one"), limit=2, ranked=False)) is None
    [record] = [record for record in caplog.records if record.message == "searching in PostgreSQL"]
    assert vars(record)["reason"] == f"ApiError {reason}"


@pytest.fixture
def elasticsearch_that_answers(
    serve: Callable[..., tuple[Server, HttpNode]],
    clean_crud: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., None]:
    """Has an Elasticsearch of the services answer requests with the given bodies."""

    def start(*bodies: bytes) -> None:
        from django.conf import settings

        head = OK + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        server, _ = serve(*[head % len(body) + body for body in bodies])
        monkeypatch.setattr(settings, "ELASTICSEARCH_URL", f"http://127.0.0.1:{server.port}")

    return start


@pytest.mark.parametrize("body", [b"{}", b'{"items":[{"index":{"_id":"1","status":201}}]}'])
def test_a_bulk_that_is_not_answered_for_each_document_is_an_error(
    elasticsearch_that_answers: Callable[..., None], body: bytes
) -> None:
    from elasticsearch import ApiError

    from crud_service.search.feed.bulk import delete_documents

    elasticsearch_that_answers(body)
    with pytest.raises(ApiError, match="no answer of Elasticsearch"):
        delete_documents("messages-1", [1, 2])


@pytest.mark.parametrize("body", [b"{}", b"[]", b"null", b'"<html>"'])
def test_an_index_is_created_only_if_elasticsearch_says_so(
    elasticsearch_that_answers: Callable[..., None], body: bytes
) -> None:
    from elasticsearch import ApiError

    from crud_service.search.index.elasticsearch_index import create_index

    elasticsearch_that_answers(body)
    with pytest.raises(ApiError, match="no answer of Elasticsearch"):
        create_index("messages-1", "a stack")


@pytest.mark.parametrize("body", [b"[]", b"null", b'"<html>"', b'{"messages-1":{}}'])
def test_indexes_that_cannot_be_read_are_an_error(
    elasticsearch_that_answers: Callable[..., None], body: bytes
) -> None:
    from elasticsearch import ApiError

    from crud_service.search.index.elasticsearch_index import find_indices

    elasticsearch_that_answers(body)
    with pytest.raises(ApiError, match="no answer of Elasticsearch"):
        find_indices()


def test_a_proxy_that_answers_for_elasticsearch_is_not_ready(
    elasticsearch_that_answers: Callable[..., None],
) -> None:
    from crud_service.monitoring.health import check_elasticsearch

    elasticsearch_that_answers(
        b"<html>log in</html>", b'{"status":"ok"}', b'{"cluster_name":"search","status":"green"}'
    )
    found = [check_elasticsearch()["status"] for _ in range(3)]
    assert found == ["unavailable", "unavailable", "ok"]
