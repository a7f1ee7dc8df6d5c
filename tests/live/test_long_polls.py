"""Lists that wait: `GET …/messages?after=N&wait=S`."""

import socket
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from secrets import token_hex

import httpx
import psycopg
import pytest

from bench.running_stack import RunningStack
from local_stack.ports import LOOPBACK, PLAIN_HTTP
from tests.api_client import Api
from tests.links import RESET_ON_CLOSE
from tests.log_lines import Line, json_lines
from tests.polling import eventually, wait_until

# Far beyond what anything takes here: an answer that comes sooner did not wait for the end.
LONG_SECONDS = 50
NO_STREAMS = "chat_live_streams_open 0.0\n"


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(64) as pool:
        yield pool


def poll(stack: RunningStack, chat: str, **parameters: object) -> httpx.Response:
    url = f"{stack.crud_url}{chat}/messages"
    query = {name: str(value) for name, value in parameters.items()}
    return httpx.get(url, params=query, timeout=LONG_SECONDS + 20, **PLAIN_HTTP)


def numbers(response: httpx.Response) -> list[int]:
    assert response.status_code == 200, response.text
    return [message["number"] for message in response.json()]


def seconds_and_numbers(response: httpx.Response) -> tuple[float, list[int]]:
    return response.elapsed.total_seconds(), numbers(response)


@pytest.mark.parametrize("parameters", [{"after": 1}, {"after": 0}, {}, {"after": 1, "limit": 1}])
def test_what_is_there_is_answered_at_once_as_without_wait(
    stack: RunningStack, chat: str, parameters: dict[str, int]
) -> None:
    waited = poll(stack, chat, wait=LONG_SECONDS, **parameters)
    assert waited.elapsed.total_seconds() < LONG_SECONDS / 2
    plain = poll(stack, chat, **parameters)
    assert waited.json() == plain.json() != []
    assert waited.headers.get("x-total-count") == plain.headers.get("x-total-count")
    assert waited.headers["x-last-change"] == plain.headers["x-last-change"]


def test_a_new_message_ends_the_wait(
    stack: RunningStack, api: Api, chat: str, threads: ThreadPoolExecutor
) -> None:
    polls: list[Future[httpx.Response]] = [
        threads.submit(poll, stack, chat, after=3, wait=LONG_SECONDS) for _ in range(40)
    ]
    time.sleep(1)
    assert not any(each.done() for each in polls)
    assert api.message(chat, "the fourth") == 4
    for each in polls:
        seconds, found = seconds_and_numbers(each.result(LONG_SECONDS))
        assert found == [4]
        assert seconds < LONG_SECONDS / 2


def test_an_edit_does_not_end_the_wait(
    stack: RunningStack, api: Api, chat: str, threads: ThreadPoolExecutor
) -> None:
    waiting = threads.submit(poll, stack, chat, after=3, wait=LONG_SECONDS)
    time.sleep(0.5)
    assert api.client.put(f"{api.crud}{chat}/messages/1", json={"body": "x"}).status_code == 200
    time.sleep(1.5)
    assert not waiting.done()
    api.message(chat, "the fourth")
    assert numbers(waiting.result(LONG_SECONDS)) == [4]


@pytest.mark.parametrize("parameters", [{"after": 3}, {"after": 3, "limit": 10}, {"after": 99}])
def test_a_wait_without_a_message_ends_empty(
    stack: RunningStack, chat: str, parameters: dict[str, int]
) -> None:
    seconds, found = seconds_and_numbers(poll(stack, chat, wait=2, **parameters))
    assert found == []
    assert 1.9 < seconds < LONG_SECONDS / 2


@pytest.mark.parametrize("query", ["after=3&w%61it=2", "%77%61%69%74=2&after=3"])
def test_a_wait_whose_name_is_escaped_is_one(stack: RunningStack, chat: str, query: str) -> None:
    response = httpx.get(f"{stack.crud_url}{chat}/messages?{query}", timeout=60, **PLAIN_HTTP)
    seconds, found = seconds_and_numbers(response)
    assert found == []
    assert 1.9 < seconds < LONG_SECONDS / 2


def test_no_wait_is_no_wait(stack: RunningStack, chat: str) -> None:
    response = poll(stack, chat, after=3, wait=0)
    assert numbers(response) == []


def test_a_message_below_the_cursor_does_not_end_the_wait(
    stack: RunningStack, api: Api, chat: str, threads: ThreadPoolExecutor
) -> None:
    waiting = threads.submit(poll, stack, chat, after=5, wait=LONG_SECONDS)
    time.sleep(0.5)
    assert [api.message(chat, "not yet") for _ in range(2)] == [4, 5]
    time.sleep(1.5)
    assert not waiting.done()
    assert api.message(chat, "this one") == 6
    assert numbers(waiting.result(LONG_SECONDS)) == [6]


@pytest.mark.parametrize(
    "query",
    [
        "wait=61",
        "wait=-1",
        "wait=1.5",
        "wait=x",
        "wait=",
        "after=1&wait=1&order=desc",
        "before=3&wait=1",
        "changed_after=0&wait=1",
        "after=x&wait=1",
    ],
)
def test_a_wait_that_makes_no_sense_is_422(stack: RunningStack, chat: str, query: str) -> None:
    response = httpx.get(f"{stack.crud_url}{chat}/messages?{query}", timeout=60, **PLAIN_HTTP)
    assert (response.status_code, response.json()["code"]) == (422, "validation_failed")


@pytest.mark.parametrize("number", [99, 10**30])
def test_a_wait_in_a_chat_that_is_not_there_is_404(
    stack: RunningStack, chat: str, number: int
) -> None:
    missing = chat.rpartition("/")[0] + f"/{number}"
    response = poll(stack, missing, after=0, wait=LONG_SECONDS)
    assert response.status_code == 404
    assert response.elapsed.total_seconds() < LONG_SECONDS / 2


def test_a_client_that_leaves_costs_nothing(stack: RunningStack, api: Api, chat: str) -> None:
    for _ in range(20):
        with pytest.raises(httpx.ReadTimeout):
            httpx.get(
                f"{stack.crud_url}{chat}/messages?after=3&wait={LONG_SECONDS}",
                timeout=0.05,
                **PLAIN_HTTP,
            )
    assert api.message(chat, "the fourth") == 4
    assert numbers(poll(stack, chat, after=3, wait=LONG_SECONDS)) == [4]


@contextmanager
def waiting_client(stack: RunningStack, path: str, request_id: str) -> Iterator[None]:
    """A client that has asked for a list that waits, has a place, and leaves with a reset."""
    # The clients of other tests may have left a moment ago.
    wait_until(lambda: not is_one_open(stack), LONG_SECONDS / 2)
    head = f"GET {path}&wait={LONG_SECONDS} HTTP/1.1\r\nHost: x\r\nX-Request-ID: {request_id}"
    with socket.create_connection((LOOPBACK, stack.crud_port)) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        client.sendall(f"{head}\r\n\r\n".encode())
        wait_until(lambda: is_one_open(stack), LONG_SECONDS / 2)
        yield


def is_one_open(stack: RunningStack) -> bool:
    return NO_STREAMS not in httpx.get(f"{stack.crud_url}/metrics", timeout=60, **PLAIN_HTTP).text


def test_a_client_that_leaves_while_the_filters_are_asked_does_not_keep_its_place(
    stack: RunningStack, chat: str
) -> None:
    with psycopg.connect(stack.environment["DATABASE_URL"]) as connection:
        connection.execute("LOCK TABLE messages IN ACCESS EXCLUSIVE MODE")
        with waiting_client(stack, f"{chat}/messages?after=0&sender=Ann", "leaves"):
            pass
        time.sleep(0.5)
    wait_until(lambda: not is_one_open(stack), LONG_SECONDS / 2)


@pytest.mark.parametrize("filters", ["", "&sender=Ann"])
def test_a_wait_whose_client_disconnects_is_logged_as_such(
    stack: RunningStack, chat: str, filters: str
) -> None:
    request_id = f"disconnects-{token_hex(8)}"
    with waiting_client(stack, f"{chat}/messages?after=3{filters}", request_id):
        time.sleep(1)
    logged = eventually(lambda: requests_logged(stack, request_id), bool, LONG_SECONDS / 2)
    assert [line["status"] for line in logged] == [499]


def requests_logged(stack: RunningStack, request_id: str) -> list[Line]:
    return json_lines(stack.layout.logs / "crud.log", containing=f'"{request_id}"')
