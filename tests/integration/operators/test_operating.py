"""Health, metrics and documentation."""

import re
import socket
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest
import redis
from openapi_spec_validator import validate

from contract.keys import ACCEPTED
from contract.tasks import INDEX_QUEUE, PERSIST_QUEUE
from tests.integration.crud_rows import Database, add_chat_of

CLOSED = "127.0.0.1:1"


@pytest.mark.parametrize(("host", "healthy"), [("127.0.0.1", True), ("127.0.0.2", False)])
def test_a_worker_is_healthy_by_the_connections_from_its_own_host(
    clean_crud: dict[str, str], host: str, healthy: bool
) -> None:
    from crud_service.stores.redis_clients import sweep_name
    from crud_service.worker.health_check import is_at_work

    with redis.Redis.from_url(clean_crud["REDIS_URL"], protocol=2) as own, ExitStack() as opened:
        server = (own.get_connection_kwargs()["host"], own.get_connection_kwargs()["port"])
        for queue in (PERSIST_QUEUE, INDEX_QUEUE):
            assert not is_at_work(own)
            client = opened.enter_context(
                socket.create_connection(server, source_address=(host, 0))
            )
            client.sendall(f"CLIENT SETNAME {sweep_name(queue)}\r\n".encode())
            assert client.recv(5) == b"+OK\r\n"
        assert is_at_work(own) == healthy


@pytest.fixture
def without_redis(http: httpx.Client) -> Iterator[None]:
    """Redis at an address where nothing listens."""
    from django.test import override_settings

    from crud_service.stores.redis_clients import api_redis

    with override_settings(REDIS_URL=f"redis://{CLOSED}/0"):
        api_redis.cache_clear()
        yield
    api_redis.cache_clear()


def metric(http: httpx.Client, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", http.get("/metrics").text, re.MULTILINE)
    assert found, name
    return float(found[1])


def test_a_process_that_runs_is_live(http: httpx.Client) -> None:
    assert http.get("/health/live").json() == {"status": "ok"}


def test_ready_reports_every_dependency(http: httpx.Client) -> None:
    from django.test import override_settings

    with override_settings(ELASTICSEARCH_URL=""):
        answer = http.get("/health/ready")
    body = answer.json()
    assert (answer.status_code, body["status"]) == (200, "ok")
    states = {name: told["status"] for name, told in body["dependencies"].items()}
    assert states == {"postgresql": "ok", "redis": "ok", "elasticsearch": "not_configured"}
    assert all(told["latency_ms"] >= 0 for told in body["dependencies"].values())


def test_without_elasticsearch_crud_is_degraded_but_ready(http: httpx.Client) -> None:
    from django.test import override_settings

    with override_settings(ELASTICSEARCH_URL=f"http://{CLOSED}"):
        answer = http.get("/health/ready")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")


def test_without_redis_crud_is_not_ready_but_reads_continue(
    http: httpx.Client, database: Database, application: str, without_redis: None
) -> None:
    chat = add_chat_of(database, application, 1)
    answer = http.get("/health/ready")
    assert (answer.status_code, answer.json()["status"]) == (503, "unavailable")
    assert http.get(f"{chat}/messages/1").status_code == 200
    assert http.get(f"{chat}/messages/2").json()["code"] == "not_found"
    assert http.put(f"{chat}/messages/1", json={"body": "x"}).status_code == 200
    assert metric(http, "chat_redis_up") == 0


def test_metrics_report_the_backlog_and_the_index(
    http: httpx.Client, database: Database, application: str, clean_crud: dict[str, str]
) -> None:
    database.execute("TRUNCATE search_outbox")
    with redis.Redis.from_url(clean_crud["REDIS_URL"]) as client:
        client.xadd(ACCEPTED, {"x": "y"}, id="1000-0")
        client.xadd(ACCEPTED, {"x": "y"})
    add_chat_of(database, application, 3)
    assert metric(http, "chat_backlog_entries") == 2
    assert metric(http, "chat_backlog_oldest_age_seconds") > 1_000_000
    assert metric(http, "chat_index_outbox_entries") == 3
    assert 0 < metric(http, "chat_index_lag_seconds") < 60
    assert metric(http, "chat_conflicts") == metric(http, "chat_set_aside_entries") == 0
    assert metric(http, "chat_persist_batches_total") == 0


@pytest.fixture
def without_role(clean_crud: dict[str, str]) -> Iterator[None]:
    """A user of Redis that may do everything but ask for the server's role."""
    from django.test import override_settings

    from crud_service.stores.redis_clients import api_redis

    url = clean_crud["REDIS_URL"].replace("//", "//metrics:secret@")
    with redis.Redis.from_url(clean_crud["REDIS_URL"]) as client:
        client.acl_setuser(
            "metrics",
            enabled=True,
            passwords=["+secret"],
            keys=["*"],
            categories=["+@all"],
            commands=["-role"],
        )
        with override_settings(REDIS_URL=url):
            api_redis.cache_clear()
            yield
        client.acl_deluser("metrics")
    api_redis.cache_clear()


def test_redis_is_either_up_or_not(http: httpx.Client, without_role: None) -> None:
    found = re.findall("^chat_redis_up .*$", http.get("/metrics").text, re.MULTILINE)
    assert found == ["chat_redis_up 0.0"]


def test_requests_are_counted_by_route_and_status(http: httpx.Client, application: str) -> None:
    from crud_service.monitoring.request_log import request_log

    labels = 'method="GET",route="application"'
    request_log().flush()
    http.get(application)
    request_log().flush()
    before = metric(http, f'chat_http_requests_total{{{labels},status="200"}}')
    http.get(application)
    request_log().flush()
    assert metric(http, f'chat_http_requests_total{{{labels},status="200"}}') == before + 1
    assert metric(http, f"chat_http_request_duration_seconds_count{{{labels}}}") > before


def test_the_openapi_document_is_valid_and_has_every_path(http: httpx.Client) -> None:
    """Path parameters have the names of the URL patterns."""
    from crud_service.urls import urlpatterns

    document = http.get("/openapi.json").json()
    validate(document)
    inner = ("/internal/", "/static/", "/admin", "/openapi.json", "/docs")
    patterns = (f"/{p.pattern}" for p in urlpatterns)
    paths = {re.sub(r"<\w+:(\w+)>", r"{\1}", p) for p in patterns if not p.endswith("/")}
    assert document["paths"].keys() == {path for path in paths if not path.startswith(inner)}


def test_every_documented_method_is_one_and_every_other_is_405(http: httpx.Client) -> None:
    for path, item in http.get("/openapi.json").json()["paths"].items():
        address = path.format(access_token="A" * 24, chat_number=1, message_number=1)
        allow = http.request("BREW", address).headers["Allow"].lower().split(", ")
        assert set(allow) - {"head"} == set(item)


def test_the_documentation_page_loads_nothing_from_elsewhere(http: httpx.Client) -> None:
    page = http.get("/docs").text
    sources = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(sources) == 4
    for source in sources:
        assert source.startswith("/static/")
        assert http.get(source).status_code == 200


class NeedsPassword(BaseHTTPRequestHandler):
    """Answers only requests with the user `chat` and the password `p@ss/word`."""

    def do_GET(self) -> None:
        expected = "Basic " + b64encode(b"chat:p@ss/word").decode()
        good = self.headers["Authorization"] == expected and self.path == "/_cluster/health"
        body = b'{"cluster_name":"search"}'
        self.send_response(200 if good else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


def test_ready_uses_the_credentials_in_the_elasticsearch_url(http: httpx.Client) -> None:
    from django.test import override_settings

    with HTTPServer(("127.0.0.1", 0), NeedsPassword) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for user, expected in (("chat:p%40ss%2Fword@", "ok"), ("chat:wrong@", "unavailable")):
            url = f"http://{user}127.0.0.1:{server.server_port}/"
            with override_settings(ELASTICSEARCH_URL=url):
                answer = http.get("/health/ready")
            assert answer.json()["dependencies"]["elasticsearch"]["status"] == expected
            assert "p%40ss" not in answer.text
        server.shutdown()


def test_ready_does_not_wait_for_a_silent_store(http: httpx.Client) -> None:
    from django.test import override_settings

    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with override_settings(ELASTICSEARCH_URL=url):
            started = time.monotonic()
            answer = http.get("/health/ready")
            assert time.monotonic() - started < 15
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
