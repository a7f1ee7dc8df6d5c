"""Attributes and filters where things are followed: streams, and lists that wait."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from bench.running_stack import RunningStack
from tests.api_client import Api
from tests.live.listener import Listener
from tests.live.test_application_streams import state, wait_for_state
from tests.live.test_long_polls import LONG_SECONDS, numbers, poll

METADATA = {"a": [1.5, None], "text": "two\nlines"}


@pytest.fixture
def stream(stack: RunningStack, chat: str) -> Iterator[Listener]:
    with Listener(stack.crud_url, f"{chat}/messages/stream") as listener:
        assert listener.next().type == "ready"
        yield listener


def post(api: Api, chat: str, **fields: object) -> int:
    response = api.client.post(f"{api.numbering}{chat}/messages", json={"body": "hi", **fields})
    assert response.status_code == 201, response.text
    number: int = response.json()["number"]
    return number


def put(api: Api, path: str, **fields: object) -> None:
    response = api.client.put(f"{api.crud}{path}", json=fields)
    assert response.status_code == 200, response.text


def test_events_have_the_attributes_of_their_messages(
    api: Api, chat: str, stream: Listener
) -> None:
    number = post(api, chat, sender="Ann", metadata=METADATA, reply_to=1)
    event = stream.next()
    assert event.type == "message.created"
    shape = ["number", "body", "created_at", "updated_at", "chat_number"]
    assert list(event.data) == [*shape, "sender", "metadata", "reply_to"]
    expected: dict[str, Any] = api.get(f"{chat}/messages/{number}")
    assert event.data == {**expected, "chat_number": 1}
    assert event.data["metadata"] == METADATA
    put(api, f"{chat}/messages/{number}", metadata=None)
    event = stream.next()
    assert (event.type, list(event.data)) == ("message.updated", [*shape, "sender", "reply_to"])


def test_a_change_of_a_chat_is_told_to_followers_of_the_application(
    stack: RunningStack, api: Api, chat: str, stream: Listener
) -> None:
    application = chat.removesuffix("/chats/1")
    with Listener(stack.crud_url, f"{application}/stream") as inbox:
        assert inbox.next().type == "ready"
        put(api, chat, name="Support")
        wait_for_state(inbox, state(1, 3, 1))
        put(api, chat, name="Support")
        put(api, f"{chat}/messages/2", body="edited")
        wait_for_state(inbox, state(1, 3, 2))
    event = stream.next()
    assert (event.type, event.id) == ("message.updated", "3.2")


def test_a_filtered_list_waits_for_a_message_that_passes(
    stack: RunningStack, api: Api, chat: str
) -> None:
    with ThreadPoolExecutor(2) as threads:
        waiting = threads.submit(poll, stack, chat, after=3, wait=LONG_SECONDS, sender="Ann")
        time.sleep(0.5)
        for sender in ("Bob", "ann"):
            post(api, chat, sender=sender)
            time.sleep(0.5)
        assert not waiting.done()
        assert post(api, chat, sender="Ann") == 6
        assert numbers(waiting.result(LONG_SECONDS)) == [6]
    assert numbers(poll(stack, chat, after=3, wait=LONG_SECONDS, sender="Bob")) == [4]


def test_a_filtered_wait_without_a_match_ends_empty(
    stack: RunningStack, api: Api, chat: str
) -> None:
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(poll, stack, chat, wait=2, created_before="2020-01-01T00:00:00Z")
        post(api, chat)
        response = waiting.result(LONG_SECONDS)
    assert numbers(response) == []
    assert 1.9 < response.elapsed.total_seconds() < LONG_SECONDS / 2
