"""Requests for streams: paths, methods, versions of HTTP, and what is refused."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from bench.running_stack import RunningStack
from local_stack.ports import PLAIN_HTTP
from tests.api_client import Api
from tests.fault.rig.linked_stack import LinkedStack
from tests.fault.rig.processes import frozen
from tests.hostile.wire import PROBLEM_KEYS
from tests.live.listener import Listener
from tests.polling import eventually

QUIET_SECONDS = 1.5
ACCEPT = "Accept: text/event-stream"


@pytest.fixture(scope="module")
def paths(stack: RunningStack, module_api: Api) -> dict[str, str]:
    """The path of each kind of stream."""
    application = module_api.application()
    chat = module_api.chat(application)
    module_api.message(chat, "the first")
    module_api.wait_for_numbers(f"{chat}/messages", [1])
    return {"chat": f"{chat}/messages/stream", "application": f"{application}/stream"}


@pytest.fixture(scope="module")
def module_api(stack: RunningStack) -> Iterator[Api]:
    with httpx.Client(timeout=15, **PLAIN_HTTP) as client:
        yield Api(client, stack.crud_url, stack.numbering_url)


@pytest.fixture(params=["chat", "application"])
def path(request: pytest.FixtureRequest, paths: dict[str, str]) -> str:
    return paths[request.param]


def refusal(listener: Listener, status: int, code: str) -> dict[str, Any]:
    """Check that an answer is a whole problem document; return it."""
    assert listener.status == status
    assert listener.headers["content-type"] == "application/problem+json"
    listener.rest()
    document: dict[str, Any] = json.loads(listener.body)
    assert set(document) - {"errors"} == PROBLEM_KEYS
    assert (document["status"], document["code"]) == (status, code)
    return document


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_stream_is_there_with_and_without_a_slash(
    stack: RunningStack, path: str, slash: str
) -> None:
    with Listener(stack.crud_url, path + slash) as stream:
        assert stream.next().type == "ready"


@pytest.mark.parametrize("slash", ["", "/"])
def test_head_answers_what_get_would_and_no_events(
    stack: RunningStack, path: str, slash: str
) -> None:
    closing = "Connection: close"
    with Listener(stack.crud_url, path + slash, closing, method="HEAD") as stream:
        assert stream.status == 200
        assert stream.headers["content-type"].partition(";")[0] == "text/event-stream"
        stream.rest()
        assert stream.body == b""


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_other_methods_are_405(stack: RunningStack, path: str, method: str) -> None:
    with Listener(stack.crud_url, path, "Content-Length: 0", method=method) as stream:
        refusal(stream, 405, "method_not_allowed")
        assert "GET" in stream.headers["allow"]


def test_a_client_of_http_1_0_gets_events_and_no_chunks(stack: RunningStack, path: str) -> None:
    with Listener(stack.crud_url, path, version="1.0") as stream:
        assert stream.next().type == "ready"
        assert "transfer-encoding" not in stream.headers
        assert stream.body.startswith((b"id", b"event", b"retry", b"data", b":"))


@pytest.mark.parametrize(
    "path",
    [
        "/applications/{token}/chats/99/messages/stream",
        "/applications/{token}/chats/0/messages/stream",
        "/applications/{token}/chats/x/messages/stream",
        "/applications/AAAAAAAAAAAAAAAAAAAAAAAA/chats/1/messages/stream",
        "/applications/AAAAAAAAAAAAAAAAAAAAAAAA/stream",
        "/applications/short/stream",
        "/applications/{token}/stream/stream",
        "/applications/{token}/chats/1/messages/stream/1",
    ],
)
def test_what_is_not_there_is_404(stack: RunningStack, paths: dict[str, str], path: str) -> None:
    token = paths["chat"].split("/")[2]
    with Listener(stack.crud_url, path.format(token=token)) as stream:
        refusal(stream, 404, "not_found")


def test_the_stream_of_a_chat_not_stored_yet_says_so(stack: RunningStack, api: Api) -> None:
    application = api.application()
    with frozen(stack, "worker"):
        chat = api.chat(application)
        with Listener(stack.crud_url, f"{chat}/messages/stream") as stream:
            refusal(stream, 404, "not_stored_yet")
            assert int(stream.headers["retry-after"]) > 0
        with Listener(stack.crud_url, f"{chat}/messages/stream", ACCEPT) as stream:
            ends_at_once(stream)
    path = f"{chat}/messages/stream"
    assert eventually(lambda: status_of(stack, path), lambda it: it == 200, 30) == 200


def test_without_postgresql_an_event_source_connects_again_and_others_are_503(
    linked: LinkedStack, path: str
) -> None:
    link = linked.link("crud", "postgres")
    link.refuse()
    try:
        with Listener(linked.crud_url, path) as stream:
            refusal(stream, 503, "store_unavailable")
        with Listener(linked.crud_url, path, ACCEPT) as stream:
            ends_at_once(stream)
    finally:
        link.heal()
    assert eventually(lambda: status_of(linked, path), lambda it: it == 200, 30) == 200


def ends_at_once(stream: Listener) -> None:
    """Expect a stream that only says when to connect again, and keeps the client's id."""
    assert stream.status == 200
    assert stream.headers["content-type"] == "text/event-stream"
    assert stream.rest() == []
    assert stream.is_complete
    assert stream.stream.retry_ms == 2000


def test_a_stream_waits_a_moment_for_its_chat_to_be_stored(stack: RunningStack, api: Api) -> None:
    application = api.application()
    with ThreadPoolExecutor(1) as executor:
        with frozen(stack, "worker"):
            path = f"{api.chat(application)}/messages/stream"
            status = executor.submit(status_of, stack, path)
            time.sleep(0.5)
            assert not status.done()
        assert status.result(30) == 200


def status_of(stack: RunningStack, path: str) -> int:
    with Listener(stack.crud_url, path) as stream:
        return stream.status


MALFORMED = ("1", "1.", ".1", "1.2.3", "-1.0", "1.-1", "a.b", "1,0", "1.0x", "\u0663.0")


@pytest.mark.parametrize("value", MALFORMED)
def test_a_malformed_id_is_422(stack: RunningStack, paths: dict[str, str], value: str) -> None:
    path = paths["chat"]
    with Listener(stack.crud_url, f"{path}?last_event_id={value}") as stream:
        document = refusal(stream, 422, "validation_failed")
        assert [error["field"] for error in document["errors"]] == ["last_event_id"]
    if value.isascii():
        with Listener(stack.crud_url, path, f"Last-Event-ID: {value}") as stream:
            refusal(stream, 422, "validation_failed")


@pytest.mark.parametrize("value", ["x", "-1", "1.5", "9" * 20])
def test_a_malformed_number_is_422(stack: RunningStack, paths: dict[str, str], value: str) -> None:
    with Listener(stack.crud_url, f"{paths['chat']}?after={value}") as stream:
        document = refusal(stream, 422, "validation_failed")
        assert [error["field"] for error in document["errors"]] == ["after"]


def test_a_refused_stream_leaves_the_connection_to_the_next_request(
    stack: RunningStack, paths: dict[str, str]
) -> None:
    """A mistake in one request costs no other: the connection is kept."""
    with Listener(stack.crud_url, f"{paths['chat']}?after=x") as stream:
        refusal(stream, 422, "validation_failed")
        assert stream.headers.get("connection", "keep-alive") != "close"


@pytest.fixture
def streams(stack: RunningStack, path: str) -> Iterator[list[Listener]]:
    opened = [Listener(stack.crud_url, path) for _ in range(50)]
    yield opened
    for stream in opened:
        stream.__exit__()


def test_a_stream_holds_no_thread(
    stack: RunningStack, api: Api, paths: dict[str, str], streams: list[Listener]
) -> None:
    """More streams than there are threads leave the other requests to be answered at once."""
    for stream in streams:
        assert stream.next().type == "ready"
    chat = paths["chat"].removesuffix("/stream")
    assert api.get(f"{chat}/search?keyword=first")[0]["number"] == 1
    assert api.get(f"{chat}?limit=1")[0]["number"] == 1
