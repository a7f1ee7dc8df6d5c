"""What the numbering service answers on the wire: to good requests, bad ones, slow ones."""

import asyncio
import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from openapi_spec_validator import validate

from contract import keys
from contract.sequences import ACCESS_TOKENS, APPLICATIONS_PATH, EXISTS, HIGHEST_NUMBER
from local_stack.ports import PLAIN_HTTP
from tests.integration.numbering.surroundings import (
    CHATS,
    MESSAGES,
    A,
    B,
    Client,
    Numbering,
    Process,
    Reply,
    Storage,
    Valkey,
    storage,
)
from tests.largest_message import LARGEST_FORM, LARGEST_MESSAGE
from tests.log_lines import Line
from tests.polling import eventually
from web.server.limits import HEAD_BYTES

# The service as `python -m numbering_service` starts it, with less patience for slow clients.
IMPATIENT = (
    "from web.server.limits import Limits; from numbering_service import __main__;"
    " __main__.main(Limits(read_seconds=1))"
)
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def service(own_valkey: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Numbering]:
    """A service without crud: what the tests need is seeded, everything else is unknown."""
    directory = tmp_path_factory.mktemp("numbering")
    with Numbering(directory, own_valkey.url, "http://127.0.0.1:1") as running:
        yield running


@pytest.fixture(scope="module")
def impatient(own_valkey: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Numbering]:
    """The same, for clients that are slow on purpose."""
    directory = tmp_path_factory.mktemp("impatient")
    with Numbering(directory, own_valkey.url, "http://127.0.0.1:1", command=IMPATIENT) as running:
        yield running


@pytest.fixture(autouse=True)
def sequences(valkey: Valkey) -> redis.Redis:
    unknown = {keys.chat_sequence(B): keys.UNKNOWN, keys.message_sequence(A, 2): keys.UNKNOWN}
    valkey.client.mset({keys.chat_sequence(A): 0, keys.message_sequence(A, 1): 0, **unknown})
    return valkey.client


@pytest.fixture
def http(service: Numbering) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, **PLAIN_HTTP, timeout=60) as client:
        yield client


def accepted(client: redis.Redis) -> list[bytes]:
    """Return the bodies of the entries in the stream."""
    return [fields[b"body"] for _entry_id, fields in client.xrange(keys.ACCEPTED)]


def problem(reply: httpx.Response | Reply, status: int, code: str) -> dict[str, Any]:
    """Check and return the problem document."""
    body = reply.content if isinstance(reply, httpx.Response) else reply.body
    answered = reply.status_code if isinstance(reply, httpx.Response) else reply.status
    assert answered == status, body
    document: dict[str, Any] = json.loads(body)
    assert reply.headers["content-type"] == "application/problem+json"
    assert (document["status"], document["code"]) == (status, code)
    assert document["request_id"] == reply.headers["x-request-id"]
    assert list(document)[:7] == [
        "type", "title", "status", "detail", "instance", "code", "request_id"
    ]  # fmt: skip
    return document


def raw(service: Numbering, data: bytes, *, finish: bool = False) -> Reply:
    """Send raw bytes and return the first response."""

    async def ask() -> Reply:
        async with Client(service.port) as client:
            return await client.send(data)

    return asyncio.run(asyncio.wait_for(ask(), 30))


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_chat_and_a_message_are_answered_in_full(http: httpx.Client, slash: str) -> None:
    chat = http.post(CHATS + slash, headers={"X-Request-ID": "r-1"})
    assert chat.status_code == 201
    assert chat.content == b'{"number":1,"access_token":"%s"}' % A.encode()
    assert chat.headers["location"] == f"http://public{CHATS}/1"
    assert chat.headers["x-request-id"] == "r-1"
    message = http.post(MESSAGES + slash, json={"body": "hi"})
    assert message.content == b'{"number":1,"chat_number":1,"access_token":"%s"}' % A.encode()
    assert message.headers["location"] == f"http://public{MESSAGES}/1"
    assert message.headers["content-type"] == "application/json"


def test_a_body_is_kept_however_it_is_sent(http: httpx.Client, sequences: redis.Redis) -> None:
    body = " é\r\n👩‍👩‍👧 a&b=c%+ \t"
    http.post(MESSAGES, json={"body": body})
    http.post(MESSAGES, content=json.dumps({"body": body}))
    http.post(MESSAGES, data={"body": body})
    http.post(MESSAGES, files={"body": (None, body)})
    http.post(MESSAGES, params={"body": body})
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    http.post(MESSAGES, content=json.dumps({"body": body}), headers=form)
    assert accepted(sequences) == [body.encode()] * 6


def test_the_largest_message_of_each_kind_is_accepted(
    http: httpx.Client, sequences: redis.Redis
) -> None:
    assert http.post(MESSAGES, json=LARGEST_MESSAGE).status_code == 201
    assert http.post(MESSAGES, data=LARGEST_FORM).status_code == 201
    assert http.post(MESSAGES, files={n: (None, v) for n, v in LARGEST_FORM.items()}).is_success
    bulk = {"messages": [LARGEST_MESSAGE] * 14}
    assert http.post(f"{MESSAGES}/bulk", json=bulk).status_code == 201
    brackets, emoji = (sent["body"].encode() for sent in (LARGEST_MESSAGE, LARGEST_FORM))
    assert accepted(sequences) == [brackets, emoji, emoji, *[brackets] * 14]


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        (f"/applications/{B}/chats", 404, "not_found"),
        (f"{CHATS}/2/messages", 404, "not_found"),
        (f"{CHATS}/abc/messages", 404, "not_found"),
        (f"{CHATS}/0/messages", 404, "not_found"),
        (f"{CHATS}/01/messages", 404, "not_found"),
        (f"{CHATS}/1_0/messages", 404, "not_found"),
        (f"{CHATS}/9223372036854775808/messages", 404, "not_found"),
        (f"{CHATS}/1/messages/1", 404, "not_found"),
        (f"/applications/{A[1:]}/chats", 404, "not_found"),
        (f"/applications/{A}é/chats", 404, "not_found"),
        (f"{CHATS}//", 404, "not_found"),
        ("/", 404, "not_found"),
        ("/health/live", 405, "method_not_allowed"),
    ],
)
def test_a_missing_resource_is_a_problem(
    http: httpx.Client, path: str, status: int, code: str
) -> None:
    problem(http.post(path, json={"body": "x"}), status, code)


@pytest.mark.parametrize("path", [CHATS, MESSAGES, f"{CHATS}/", f"{MESSAGES}/"])
@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_other_methods_are_405_with_allow(http: httpx.Client, path: str, method: str) -> None:
    reply = http.request(method, path)
    problem(reply, 405, "method_not_allowed")
    assert reply.headers["allow"] == "POST"


@pytest.mark.parametrize(
    ("content", "headers", "status", "code"),
    [
        (b"{", JSON, 400, "malformed_body"),
        (b'{"body": "\\ud800"}', JSON, 400, "malformed_body"),
        (b"[" * 100_000, JSON, 400, "malformed_body"),
        (b"hi", {"Content-Type": "multipart/form-data; boundary=b"}, 400, "malformed_body"),
        (b"", JSON, 422, "validation_failed"),
        (b'{"body": 1}', JSON, 422, "validation_failed"),
        (b'{"body": "\\u0000"}', JSON, 422, "validation_failed"),
        (b'{"body": "x", "metadata": {"a": "\\u0000"}}', JSON, 422, "validation_failed"),
        (b'{"body": "x", "metadata": {"a": {"\\u0000": 1}}}', JSON, 422, "validation_failed"),
        (json.dumps({"body": "x" * 65_537}).encode(), JSON, 422, "validation_failed"),
        (b"hi", {"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
        (b"hi", JSON | {"Content-Encoding": "gzip"}, 415, "unsupported_media_type"),
        (b'{"body": "x"}', JSON | {"Idempotency-Key": ""}, 422, "validation_failed"),
        (b'{"body": "x"}', JSON | {"Idempotency-Key": "é"}, 422, "validation_failed"),
        (b'{"body": "x"}', JSON | {"Idempotency-Key": "k" * 256}, 422, "validation_failed"),
        (b" " * (2**20 + 1), JSON, 413, "body_too_large"),
    ],
    ids=range(16),
)
def test_an_invalid_body_is_a_problem_and_takes_no_number(
    http: httpx.Client,
    sequences: redis.Redis,
    content: bytes,
    headers: dict[str, str],
    status: int,
    code: str,
) -> None:
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    document = problem(http.post(MESSAGES, content=content, headers=encoded), status, code)
    assert ("errors" in document) == (status == 422)
    assert http.post(MESSAGES, json={"body": "next"}).json()["number"] == 1


def test_an_encoding_of_no_body_is_ignored(http: httpx.Client) -> None:
    compressed = {"Content-Encoding": "gzip"}
    assert http.post(CHATS, headers=compressed).status_code == 201
    assert http.post(f"{MESSAGES}?body=x", headers=compressed).status_code == 201


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n",
    ],
    ids=range(9),
)
def test_malformed_http_is_a_problem(service: Numbering, data: bytes) -> None:
    reply = raw(service, data)
    assert reply.status in {400, 404}, reply
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.headers["x-request-id"]


def head(size: int) -> bytes:
    """Return a request whose headers have about this many bytes."""
    lines = b"".join(b"X-%d: %s\r\n" % (number, b"v" * 1000) for number in range(size // 1010))
    return b"GET /health/live HTTP/1.1\r\nHost: x\r\n" + lines + b"\r\n"


def test_headers_are_bounded(service: Numbering) -> None:
    assert raw(service, head(HEAD_BYTES - 20_000)).status == 200
    for size in (HEAD_BYTES + 4000, 3 * HEAD_BYTES):
        problem(raw(service, head(size)), 431, "headers_too_large")


def test_urls_are_bounded_too(service: Numbering) -> None:
    reply = raw(service, b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n" % (b"a" * 2 * HEAD_BYTES))
    assert reply.status in {400, 431}


def test_a_chunked_body_is_cut_off_while_it_arrives(service: Numbering) -> None:
    start = f"POST {MESSAGES} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    chunk = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as connection:
        connection.sendall(start)
        sent = 0
        with contextlib.suppress(ConnectionError):
            for _ in range(400):
                connection.sendall(chunk)
                sent += 65_536
        assert sent < 20 * 2**20


def test_a_body_over_the_limit_is_answered_before_it_has_arrived(service: Numbering) -> None:
    chunks = b"".join([b"10000\r\n" + b"x" * 65_536 + b"\r\n"] * 17)
    start = f"POST {MESSAGES} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    problem(raw(service, start + chunks), 413, "body_too_large")
    declared = f"POST {MESSAGES} HTTP/1.1\r\nHost: x\r\nContent-Length: 1048577\r\n\r\n".encode()
    problem(raw(service, declared + b"x"), 413, "body_too_large")


@pytest.mark.parametrize(
    "part",
    [
        b"",
        b"POST ",
        f"POST {MESSAGES} HTTP/1.1\r\nHost: x\r\n".encode(),
        f"POST {MESSAGES} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhal".encode(),
    ],
    ids=["nothing", "a word", "half a head", "half a body"],
)
def test_a_request_that_takes_too_long_is_ended(
    impatient: Numbering, sequences: redis.Redis, part: bytes
) -> None:
    started = time.monotonic()
    problem(raw(impatient, part), 408, "request_timeout")
    assert 0.5 < time.monotonic() - started < 20
    assert not accepted(sequences)


def test_a_client_that_disconnects_mid_body_takes_no_number(
    service: Numbering, http: httpx.Client, sequences: redis.Redis
) -> None:
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", service.port)) as connection:
            connection.sendall(
                f"POST {MESSAGES} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhal".encode()
            )
    time.sleep(0.1)
    assert http.post(MESSAGES, json={"body": "next"}).json()["number"] == 1
    assert accepted(sequences) == [b"next"]


def test_garbage_after_a_request_does_not_hide_its_answer(service: Numbering) -> None:
    sent = f"POST {CHATS} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n\x16\x03 rubbish\r\n\r\n"
    assert raw(service, sent.encode()).number == 1


def test_pipelined_requests_are_answered_in_their_order(service: Numbering) -> None:
    async def ask() -> list[int]:
        one = f"POST {CHATS} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode()
        async with Client(service.port) as client:
            return [(await client.send(one * 3)).number, *[(await client.send(b"")).number] * 1]

    assert asyncio.run(ask()) == [1, 2]


def test_an_upgrade_header_is_ignored(service: Numbering, sequences: redis.Redis) -> None:
    async def ask() -> list[int]:
        upgrade = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "A"}
        async with Client(service.port) as client:
            return [
                (await client.request("POST", MESSAGES, b'{"body":"x"}', JSON | upgrade)).number
                for _ in range(2)
            ]

    assert asyncio.run(asyncio.wait_for(ask(), 30)) == [1, 2]


def test_an_expected_100_is_sent_before_the_body(service: Numbering) -> None:
    start = f"POST {MESSAGES} HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\nExpect: 100-continue"
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as connection:
        connection.sendall(start.encode() + b"\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 100")
        connection.sendall(b'{"body":"x"}')
        assert connection.recv(1000).startswith(b"HTTP/1.1 201")


def test_every_path_for_reading_works_with_a_trailing_slash(http: httpx.Client) -> None:
    for path in ("/health/live", "/health/ready", "/metrics", "/docs", "/openapi.json"):
        for method in ("GET", "HEAD"):
            assert http.request(method, f"{path}/").status_code == 200, f"{method} {path}/"


def test_every_answer_has_a_request_id(http: httpx.Client) -> None:
    for path in ("/", "/health/live", "/health/ready", "/metrics", "/docs", "/openapi.json", CHATS):
        assert http.get(path, headers={"X-Request-ID": "mine"}).headers["x-request-id"] == "mine"
        assert http.get(path, headers={"X-Request-ID": "a b"}).headers["x-request-id"] != "a b"


def test_the_log_is_json_with_masked_tokens(http: httpx.Client, service: Numbering) -> None:
    http.post(MESSAGES, json={"body": "secret text"}, headers={"X-Request-ID": "in-the-log"})
    http.get(f"/nothing/{A}")
    http.post(f"/applications/{A}x/chats")
    # A wake-up that this request sent is in the log under its id as well.
    [line] = eventually(lambda: requests_logged(service, "in-the-log"), bool, 20)
    assert line["path"] == "/applications/AAAA…/chats/1/messages"
    assert (line["status"], line["method"]) == (201, "POST")
    assert all({"time", "level", "service", "message"} <= set(line) for line in service.lines())
    assert A not in service.log.read_text()
    assert "secret text" not in service.log.read_text()


def test_the_log_says_why_an_entry_is_rejected(
    http: httpx.Client, service: Numbering, sequences: redis.Redis
) -> None:
    sequences.set(keys.message_sequence(A, 1), "no number")
    answer = http.post(MESSAGES, json={"body": "x"}, headers={"X-Request-ID": "rejected"})
    assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
    [line] = eventually(lambda: rejections_logged(service), bool, 20)
    assert (line["level"], line["request_id"]) == ("error", "rejected")


def rejections_logged(service: Numbering) -> list[Line]:
    return [line for line in service.lines() if "rejected an entry" in str(line["message"])]


def requests_logged(service: Numbering, request_id: str) -> list[Line]:
    """Return the request lines with an id."""
    wanted = {"message": "request", "request_id": request_id}
    return [line for line in service.lines() if line.items() >= wanted.items()]


def test_health_reports_each_dependency(http: httpx.Client) -> None:
    assert http.get("/health/live/").json() == {"status": "ok"}
    ready = http.get("/health/ready")
    assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
    assert ready.json()["dependencies"]["redis"]["status"] == "ok"


def test_metrics_count_what_happened(http: httpx.Client) -> None:
    http.post(MESSAGES, json={"body": "x"})
    creations = 'chat_http_requests_total{method="POST"'
    text = eventually(lambda: http.get("/metrics").text, lambda it: creations in it, 20)
    for name in (
        "chat_created_total", "chat_replayed_total", "chat_sequences_seeded_total",
        "chat_numbering_batch_size_bucket", "chat_numbering_batch_retries_total",
        "chat_numbering_waiting", "chat_backlog_oldest_age_seconds", "chat_http_requests_total",
        "chat_http_request_duration_seconds_bucket",
    ):  # fmt: skip
        assert f"\n{name}" in text, name
    assert "\nchat_backlog_entries 1.0" in text


def test_the_docs_load_nothing_from_outside(http: httpx.Client) -> None:
    page = http.get("/docs").text
    assert "http://" not in page
    assert "https://" not in page
    for file in ("swagger-ui-bundle.js", "docs.js", "swagger-ui.css", "favicon-32x32.png"):
        assert f"/docs/{file}" in page
        assert http.get(f"/docs/{file}").status_code == 200


def test_the_docs_run_no_script_of_another_origin_and_none_within_the_page(
    http: httpx.Client,
) -> None:
    for path in ("/docs", "/docs/"):
        answer = http.get(path)
        policy = answer.headers["content-security-policy"].split("; ")
        assert "default-src 'self'" in policy
        assert not [rule for rule in policy if rule.startswith("script-src")]
        assert re.findall(r"<script>|<script [^>]*>[^<]", answer.text) == []


def test_the_document_is_valid_and_names_both_creations(http: httpx.Client) -> None:
    document = http.get("/openapi.json").json()
    validate(document)
    paths = document["paths"]
    assert {"201", "400", "404", "413", "415", "422", "503"} <= set(
        paths["/applications/{access_token}/chats"]["post"]["responses"]
    )
    assert "/applications/{access_token}/chats/{chat_number}/messages" in paths
    assert not [path for path in paths if path.endswith("/")]
    for path in paths.values():
        for operation in path.values():
            answers = operation["responses"]
            assert all("X-Request-ID" in answer["headers"] for answer in answers.values())
            assert "X-Request-ID" in {each["name"] for each in operation.get("parameters", ())}
            for answer in answers.values():
                assert all(kind["schema"].get("type") for kind in answer["content"].values())
    assert "503" in paths["/health/ready"]["get"]["responses"]


@pytest.mark.timeout(900)
def test_the_document_passes_schemathesis(tmp_path: Path, valkey: Valkey) -> None:
    command = [sys.executable, "-m", "schemathesis.cli", "run", "--checks=all"]
    command += ["--max-examples=10", "--seed=1", "--no-color", "--suppress-health-check=all"]
    command += ["--generation-database=none", "--phases=examples,coverage,fuzzing"]
    hooks = {"SCHEMATHESIS_HOOKS": "tests.integration.numbering.numbering_schemathesis"}
    log = tmp_path / "schemathesis.log"

    async def whole() -> int:
        async with storage(valkey.url) as store:
            serve_anybody(store)
            service = await asyncio.to_thread(Numbering, tmp_path, valkey.url, store.url)
            with service, Process(log, [*command, f"{service.url}/openapi.json"], **hooks) as run:
                return await asyncio.to_thread(run.popen.wait, 360)

    assert asyncio.run(whole()) == 0, log.read_text()[-6000:]


def serve_anybody(store: Storage) -> None:
    """Know every application and every chat."""

    def look_up(path: str) -> tuple[bytes, bytes]:
        if path.startswith(APPLICATIONS_PATH):
            tokens = path.partition("=")[2].split(",")
            return b"200 OK", json.dumps({ACCESS_TOKENS: tokens}).encode()
        return b"200 OK", json.dumps({HIGHEST_NUMBER: 0, EXISTS: True}).encode()

    store.look_up = look_up


@contextlib.contextmanager
def hangups(handler: signal.Handlers) -> Iterator[None]:
    """Have children inherit how SIGHUP is handled."""
    before = signal.signal(signal.SIGHUP, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_other_signals_stop_a_single_process_like_sigterm(
    tmp_path: Path, valkey: Valkey, number: signal.Signals
) -> None:
    """On SIGHUP several processes are replaced one by one."""
    with hangups(signal.SIG_DFL), Numbering(tmp_path, valkey.url, "http://127.0.0.1:1") as service:
        assert service.end(number) == 0
        assert "Finished server process" in str(service.lines()[-1]["message"])


def test_a_process_that_was_started_by_nohup_outlives_its_terminal(
    tmp_path: Path, valkey: Valkey
) -> None:
    with hangups(signal.SIG_IGN), Numbering(tmp_path, valkey.url, "http://127.0.0.1:1") as service:
        service.popen.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            service.popen.wait(1)


def test_what_redis_refuses_to_seeding_is_logged(tmp_path: Path, valkey: Valkey) -> None:
    allowed = {"keys": ["*"], "channels": ["*"], "categories": ["+@all", "-@dangerous"]}
    valkey.client.acl_setuser("restricted", enabled=True, nopass=True, **allowed)
    valkey.client.delete(keys.message_sequence(A, 1))
    url = valkey.url.replace("://", "://restricted:x@")
    with Numbering(tmp_path, url, "http://127.0.0.1:1") as service:
        sent = httpx.post(service.url + MESSAGES, json={"body": "hello"}, timeout=60, **PLAIN_HTTP)
        assert sent.status_code == 503
        log = eventually(service.log.read_text, lambda it: "cannot be seeded" in it, 20)
        assert "a sequence cannot be seeded" in log
