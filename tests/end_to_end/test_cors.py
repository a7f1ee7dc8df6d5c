"""Scripts of another origin: what they may ask of a whole stack, and what they get to read.

The page comes from a server of its own, so that the browser sees two origins.
"""

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import httpx
import pytest

from bench.running_stack import RunningStack
from local_stack.applications import ROOT
from local_stack.ports import choose_port
from tests.api_client import Api
from tests.chromium import PROGRAMS, require_chromium
from web.cors import EXPOSED, REQUEST_HEADERS
from web.server import limits

EVIL = "https://evil.example"
SAFELISTED = {"cache-control", "content-language", "content-length", "content-type"}

pytestmark = pytest.mark.timeout(600)


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>A page</title>")

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""


class Across(NamedTuple):
    """A stack, and the origin whose scripts may use it."""

    stack: RunningStack
    origin: str


@pytest.fixture
def across(described: RunningStack) -> Across:
    return Across(described, described.extra["CORS_ORIGINS"].rpartition(", ")[2])


@pytest.fixture
def api(across: Across, client: httpx.Client) -> Api:
    return Api(client, across.stack.crud_url, across.stack.numbering_url)


@pytest.fixture
def chat(api: Api) -> str:
    path = api.chat(api.application())
    api.message(path, "the first")
    api.message(path, "the second")
    api.wait_for_numbers(f"{path}/messages", [1, 2])
    return path


def call_across(across: Across, calls: list[dict[str, Any]], stream: str = "") -> dict[str, Any]:
    """Open a page of the origin in Chromium, and make the calls from a script there."""
    task = {"chromium": require_chromium(), "page": across.origin, "calls": calls, "stream": stream}
    port = int(across.origin.rpartition(":")[2])
    with ThreadingHTTPServer(("127.0.0.1", port), Page) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            done = subprocess.run(
                ["node", "call_across.mjs", json.dumps(task)],
                cwd=PROGRAMS,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
        finally:
            server.shutdown()
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


def test_a_script_of_a_listed_origin_uses_the_whole_api(
    across: Across, api: Api, chat: str
) -> None:
    messages, message = f"{chat}/messages", f"{api.crud}{chat}/messages/1"
    post = {
        "url": f"{api.numbering}{messages}",
        "method": "POST",
        "headers": {"Content-Type": "application/json", "Idempotency-Key": "once"},
        "body": json.dumps({"body": "from a page"}),
    }
    put = {"url": message, "method": "PUT", "headers": {"If-Match": '"no"'}, "body": '{"body":"x"}'}
    calls = [
        post,
        post,
        {"url": f"{api.crud}{messages}?limit=1&after=0"},
        {"url": message},
        {"url": f"{api.crud}{messages}/search?keyword=first"},
        put,
        {"url": f"{api.crud}{chat}/messages/99"},
        {"url": f"{api.numbering}{messages}", "method": "POST", "body": "{"},
        {"url": f"{api.crud}/applications?{'x' * limits.HEAD_BYTES}"},
        {"url": f"{api.crud}/admin/login/"},
    ]
    seen = call_across(across, calls, f"{api.crud}{messages}/stream")
    created, replayed, page, one, found, stale, missing, malformed, long, admin = seen["answers"]
    assert (created["status"], replayed["status"]) == (201, 201)
    assert created["headers"]["location"].endswith("/messages/3")
    assert replayed["headers"]["idempotent-replayed"] == "true"
    assert page["headers"].keys() >= {"link", "x-total-count", "x-last-change", "x-request-id"}
    assert one["headers"]["etag"]
    assert found["headers"]["x-search-backend"] == "postgresql"
    codes = [json.loads(answer["text"])["code"] for answer in (stale, missing, malformed, long)]
    assert codes == ["precondition_failed", "not_found", "malformed_body", "headers_too_large"]
    assert "error" in admin
    allowed = {name.strip().lower() for name in EXPOSED.split(",")} | SAFELISTED
    assert {name for answer in seen["answers"] for name in answer.get("headers", ())} <= allowed
    assert seen["event"]["type"] == "ready"


def test_a_script_of_another_origin_reads_nothing(across: Across, api: Api, chat: str) -> None:
    other = across._replace(origin=f"http://localhost:{choose_port()}")
    calls = [{"url": f"{api.crud}{chat}"}, {"url": f"{api.numbering}/health/live"}]
    seen = call_across(other, calls, f"{api.crud}{chat}/messages/stream")
    assert ["error" in answer for answer in seen["answers"]] == [True, True]
    assert seen["event"] is None


APPLICATION = "/applications/{token}"
CRUD_METHODS = {
    "/applications": "GET, HEAD, POST",
    APPLICATION: "GET, HEAD, PUT",
    f"{APPLICATION}/chats": "GET, HEAD",
    f"{APPLICATION}/chats/1/messages/1": "GET, HEAD, PUT",
    f"{APPLICATION}/chats/1/messages/stream": "GET, HEAD",
    "/health/ready": "GET, HEAD",
    "/openapi.json": "GET, HEAD",
}
NUMBERING_METHODS = {
    f"{APPLICATION}/chats": "POST",
    f"{APPLICATION}/chats/1/messages": "POST",
    "/health/live": "GET, HEAD",
}


def test_preflights_tell_the_methods_of_each_path(across: Across, api: Api, chat: str) -> None:
    token = chat.split("/")[2]
    services = ((api.crud, CRUD_METHODS), (api.numbering, NUMBERING_METHODS))
    for base, methods_of in services:
        for path, methods in methods_of.items():
            for slash in ("", "/"):
                url = f"{base}{path.format(token=token)}{slash}"
                answer = preflight(api, url, across.origin)
                assert answer.status_code == 204, url
                allowed = answer.headers["Access-Control-Allow-Methods"].split(", ")
                assert set(methods.split(", ")) <= set(allowed), url
                assert "OPTIONS" not in allowed
                assert answer.headers["Access-Control-Allow-Headers"] == REQUEST_HEADERS
                assert answer.headers["Access-Control-Allow-Origin"] == across.origin


def test_preflights_for_nothing_are_problems(across: Across, api: Api, chat: str) -> None:
    for base in (api.crud, api.numbering):
        unknown = preflight(api, f"{base}/elsewhere", across.origin)
        assert unknown.status_code == 404
        assert unknown.headers["Access-Control-Allow-Origin"] == across.origin
        refused = preflight(api, f"{base}/health/live", EVIL)
        assert refused.status_code == 405
        assert "Access-Control-Allow-Origin" not in refused.headers
    admin = preflight(api, f"{api.crud}/admin/login/", across.origin)
    assert not [name for name in admin.headers if name.startswith("access-control")]


def preflight(api: Api, url: str, origin: str) -> httpx.Response:
    headers = {"Origin": origin, "Access-Control-Request-Method": "PUT"}
    return api.client.options(url, headers=headers)


def test_every_kind_of_answer_names_the_origin(across: Across, api: Api, chat: str) -> None:
    etag = api.client.get(f"{api.crud}{chat}").headers["ETag"]
    headers = {"Origin": across.origin}
    asked = [
        (f"{api.crud}{chat}", {"If-None-Match": etag}, 304),
        (f"{api.crud}{chat}/messages", {}, 200),
        (f"{api.crud}{chat}/messages?limit=0", {}, 422),
        (f"{api.crud}/docs", {}, 200),
        (f"{api.crud}/metrics", {}, 200),
        (f"{api.numbering}/docs", {}, 200),
        (f"{api.numbering}/health/ready", {}, 200),
        (f"{api.numbering}{chat}", {}, 404),
    ]
    for url, more, status in asked:
        answer = api.client.get(url, headers={**headers, **more})
        assert answer.status_code == status, url
        assert answer.headers["Access-Control-Allow-Origin"] == across.origin, url
        assert "origin" in answer.headers["Vary"].lower(), url
        other = api.client.get(url, headers={"Origin": EVIL, **more})
        assert "Access-Control-Allow-Origin" not in other.headers, url


@pytest.mark.parametrize("service", ["crud_service", "numbering_service"])
def test_an_origin_that_no_browser_sends_stops_the_start(service: str) -> None:
    environment = {**os.environ, "CORS_ORIGINS": "https://chat.example.com/", "LOCAL_STACK": "1"}
    started = subprocess.run(
        [sys.executable, "-m", service],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert started.returncode != 0
    assert len(started.stderr.splitlines()) == 1, started.stderr
    assert "CORS_ORIGINS: 'https://chat.example.com/' is not an origin" in started.stderr
