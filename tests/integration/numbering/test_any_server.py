"""The service returns the same bytes under its own HTTP server and as a plain ASGI application."""

import warnings
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
import uvicorn

from contract import keys
from local_stack.ports import PLAIN_HTTP
from numbering_service.main import NumberingService
from numbering_service.settings import Settings
from tests.integration.numbering.surroundings import CHATS, MESSAGES, A, B, Numbering, Valkey
from web.server.serving import options

with warnings.catch_warnings():
    # It would rather have httpx's successor, which nothing else here needs.
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

MAX_BACKLOG = 10
MIB = 1024 * 1024
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
# What an HTTP server adds, and what says how a body was sent.
OF_THE_SERVER = {"date", "server", "connection", "transfer-encoding"}


class Case(NamedTuple):
    """A request, and its expected status."""

    status: int
    path: str
    content: bytes = b""
    headers: dict[str, str] = {}
    method: str = "POST"


def post(status: int, content: bytes, path: str = MESSAGES, **headers: str) -> Case:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Case(status, path, content, JSON | named)


# In this order: some meet what those before them left.
CASES = [
    Case(201, CHATS),
    Case(201, f"{CHATS}/"),
    post(201, b"null", CHATS),
    post(201, b' "" \n', CHATS),
    post(201, b'{"body": "hi"}'),
    post(201, '{"body": "é🙂"}'.encode(), f"{MESSAGES}/"),
    Case(201, f"{MESSAGES}?body=from+the+query"),
    post(201, b'{"body": "once"}', Idempotency_Key="k"),
    post(201, b'{"body": "once"}', Idempotency_Key="k"),
    post(422, b'{"body": "twice"}', Idempotency_Key="k"),
    post(422, b'{"body": "x"}', Idempotency_Key="é" * 256),
    post(422, b'{"body": " "}'),
    post(201, b'{"messages": [{"body": "a"}]}', f"{MESSAGES}/bulk"),
    post(422, b'{"messages": [{"body": "a"}, {}]}', f"{MESSAGES}/bulk/"),
    post(422, b"[]"),
    post(422, b"[]", CHATS),
    post(400, b"{"),
    post(400, b"{", CHATS),
    post(400, b'{"body": "\xff"}'),
    Case(415, MESSAGES, b"hi", {"Content-Type": "image/png"}),
    post(415, b"hi", Content_Encoding="gzip"),
    post(413, b"x" * (MIB + 1)),
    post(413, b"x" * (MIB + 1), CHATS),
    post(404, b'{"body": "x"}', f"/applications/{B}/chats/1/messages"),
    Case(404, f"/applications/{B}/chats"),
    Case(404, f"{CHATS}/0/messages"),
    Case(404, f"{CHATS}/9223372036854775808/messages"),
    Case(404, f"/applications/{A}x/chats"),
    Case(405, CHATS, method="PUT"),
    Case(405, MESSAGES, method="GET"),
    Case(201, MESSAGES, b"body=last", FORM),
    post(503, b'{"body": "the stream is full"}'),
]


@pytest.fixture
def environment(valkey: Valkey) -> dict[str, str]:
    return {
        "REDIS_URL": valkey.url,
        "CRUD_URL": "http://127.0.0.1:1",
        "CRUD_PUBLIC_URL": "http://public",
        "MAX_BACKLOG": str(MAX_BACKLOG),
    }


def answers(valkey: Valkey, client: httpx.Client) -> list[tuple[int, dict[str, str], bytes]]:
    """Return a server's responses to all cases, on the same data."""
    valkey.client.flushall()
    valkey.client.mset({keys.chat_sequence(A): 0, keys.message_sequence(A, 1): 0})
    unknown = (keys.chat_sequence(B), keys.message_sequence(B, 1))
    valkey.client.mset(dict.fromkeys(unknown, keys.UNKNOWN))
    found = []
    for number, case in enumerate(CASES):
        named = {**case.headers, "X-Request-ID": f"case-{number}"}
        headers = [(name.encode(), value.encode()) for name, value in named.items()]
        reply = client.request(case.method, case.path, content=case.content, headers=headers)
        kept = {n: v for n, v in reply.headers.items() if n not in OF_THE_SERVER}
        found.append((reply.status_code, kept, reply.content))
    return found


def test_both_ways_answer_the_same(
    valkey: Valkey, environment: dict[str, str], tmp_path: Path
) -> None:
    with (
        Numbering(tmp_path, valkey.url, "http://127.0.0.1:1", **environment) as service,
        httpx.Client(base_url=service.url, timeout=60, **PLAIN_HTTP) as http,
    ):
        by_our_server = answers(valkey, http)
    application = NumberingService(Settings.from_env(environment))
    with TestClient(application, base_url="http://127.0.0.1") as client:
        by_asgi = answers(valkey, client)
    for case, ours, asgi in zip(CASES, by_our_server, by_asgi, strict=True):
        assert ours[0] == case.status, (case, ours)
        assert ours == asgi, case


def test_the_application_works_in_a_test_client(
    valkey: Valkey, environment: dict[str, str]
) -> None:
    """It can be embedded without our server."""
    valkey.client.flushall()
    valkey.client.set(keys.chat_sequence(A), 0)
    application = NumberingService(Settings.from_env(environment))
    with TestClient(application) as client:
        assert client.post(CHATS).json() == {"number": 1, "access_token": A}
        sent = [client.post(MESSAGES, json={"body": str(n)}).json()["number"] for n in range(3)]
        assert sent == [1, 2, 3]
        chunks = client.post(MESSAGES, content=iter([b'{"bo', b'dy": "in ', b'chunks"}']))
        assert chunks.json()["number"] == 4
        endless = client.post(MESSAGES, content=(b"x" * 65_536 for _ in range(100)))
        assert (endless.status_code, endless.json()["code"]) == (413, "body_too_large")
        assert client.get("/health/live").json() == {"status": "ok"}
    stored = [fields[b"body"] for _entry_id, fields in valkey.client.xrange(keys.ACCEPTED)]
    assert stored == [b"", b"0", b"1", b"2", b"in chunks"]


def test_before_it_has_started_a_creation_is_refused(environment: dict[str, str]) -> None:
    client = TestClient(NumberingService(Settings.from_env(environment)))
    reply = client.post(CHATS)
    assert (reply.status_code, reply.json()["code"]) == (503, "store_unavailable")


def test_the_services_own_server_uses_the_fast_path(environment: dict[str, str]) -> None:
    """A wrapper around the application, such as uvicorn's for proxies, would hide the fast path."""
    service = NumberingService(Settings.from_env(environment))
    config = uvicorn.Config(lambda: service, **options("127.0.0.1", 0))
    config.load()
    assert config.loaded_app.handle == service.handle
