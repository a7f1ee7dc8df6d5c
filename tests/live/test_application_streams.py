"""Streams of applications: which chats have changed, as an inbox follows it."""

import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from bench.running_stack import RunningStack
from tests.api_client import Api
from tests.fault.rig.linked_stack import LinkedStack
from tests.live.crud_process import crud_processes
from tests.live.listener import PATIENCE_SECONDS, Listener
from tests.polling import eventually

QUIET_SECONDS = 1.6


@pytest.fixture
def application(api: Api) -> str:
    """An application with two chats, the first of which has a message."""
    application = api.application()
    first, second = api.chat(application), api.chat(application)
    api.message(first, "the first")
    api.wait_for_numbers(f"{first}/messages", [1])
    api.wait_for_numbers(f"{application}/chats", [1, 2])
    assert second.endswith("/2")
    return application


@pytest.fixture
def stream(stack: RunningStack, application: str) -> Iterator[Listener]:
    with Listener(stack.crud_url, f"{application}/stream") as listener:
        ready = listener.next()
        assert (ready.type, bool(ready.id)) == ("ready", True)
        assert listener.stream.retry_ms == 2000
        # A block without an id would have the client forget its last one (WHATWG HTML, 9.2.6).
        assert b"\nid: " in listener.body.split(b"\n\n")[0]
        yield listener


def state(chat_number: int, highest_number: int, highest_change: int) -> dict[str, int]:
    return {
        "chat_number": chat_number,
        "highest_number": highest_number,
        "highest_change": highest_change,
    }


def wait_for_state(stream: Listener, expected: dict[str, int]) -> None:
    """Read events until one tells this state, which has to be the last one."""
    seen: list[dict[str, Any]] = []

    def is_there() -> bool:
        event = stream.next()
        assert event.type == "chat.changed"
        seen.append(event.data)
        return event.data == expected

    assert eventually(is_there, bool, PATIENCE_SECONDS), seen
    assert stream.quiet(QUIET_SECONDS)


def test_a_new_message_changes_its_chat(api: Api, application: str, stream: Listener) -> None:
    api.message(f"{application}/chats/2", "hello")
    wait_for_state(stream, state(2, 1, 0))
    api.message(f"{application}/chats/1", "hello")
    wait_for_state(stream, state(1, 2, 0))


def test_the_first_message_of_a_new_chat_is_told(
    api: Api, application: str, stream: Listener
) -> None:
    chat = api.chat(application)
    api.message(chat, "hello")
    wait_for_state(stream, state(3, 1, 0))


def test_an_edit_changes_its_chat(api: Api, application: str, stream: Listener) -> None:
    path = f"{api.crud}{application}/chats/1/messages/1"
    assert api.client.put(path, json={"body": "edited"}).status_code == 200
    wait_for_state(stream, state(1, 1, 1))


def edit_by_hand(stack: RunningStack, application: str) -> None:
    """Change all messages of an application in the table."""
    with psycopg.connect(stack.environment["DATABASE_URL"]) as connection:
        connection.execute(
            "UPDATE messages m SET body = 'by hand' FROM chats c, applications a WHERE"
            " c.id = m.chat_id AND a.id = c.application_id AND a.access_token = %s",
            (application.rpartition("/")[2],),
        )


def test_an_edit_by_hand_changes_its_chat(
    stack: RunningStack, application: str, stream: Listener
) -> None:
    edit_by_hand(stack, application)
    wait_for_state(stream, state(1, 1, 1))


@pytest.mark.parametrize(
    "change",
    [
        """UPDATE messages m SET metadata = '{"by": "hand"}' FROM chats c WHERE c.id = m.chat_id""",
        """UPDATE chats c SET name = 'by hand', changes = changes + 1 WHERE c.number = 1""",
    ],
    ids=["metadata of a message", "name of a chat"],
)
def test_a_change_that_nobody_announced_is_told(
    stack: RunningStack, application: str, stream: Listener, change: str
) -> None:
    """What a process has done that was killed between its commit and its announcement."""
    with psycopg.connect(stack.environment["DATABASE_URL"]) as connection:
        own = " AND c.application_id = (SELECT id FROM applications WHERE access_token = %s)"
        connection.execute(change + own, (application.rpartition("/")[2],))
    wait_for_state(stream, state(1, 1, 1))


def test_an_edit_is_told_by_every_process(stack: RunningStack, api: Api, application: str) -> None:
    with (
        crud_processes(stack) as start,
        Listener(start().url, f"{application}/stream") as elsewhere,
    ):
        assert elsewhere.next().type == "ready"
        path = f"{api.crud}{application}/chats/1/messages/1"
        assert api.client.put(path, json={"body": "edited"}).status_code == 200
        wait_for_state(elsewhere, state(1, 1, 1))


def test_a_change_that_could_not_be_read_is_told_later(
    linked: LinkedStack, application: str, stream: Listener
) -> None:
    link = linked.link("crud", "postgres")
    link.refuse()
    edit_by_hand(linked, application)
    time.sleep(2 * QUIET_SECONDS)
    link.heal()
    wait_for_state(stream, state(1, 1, 1))


def test_many_changes_of_a_chat_end_in_its_latest_state(
    api: Api, application: str, stream: Listener
) -> None:
    for number in range(100):
        api.message(f"{application}/chats/2", f"message {number}")
    wait_for_state(stream, state(2, 100, 0))


def test_other_applications_are_not_told_of(api: Api, stream: Listener) -> None:
    api.message(api.chat(api.application()), "elsewhere")
    assert stream.quiet(QUIET_SECONDS)


def test_a_stream_that_resumes_is_ready_again(
    stack: RunningStack, api: Api, application: str, stream: Listener
) -> None:
    """It is state and no history: after `ready` the list is read."""
    api.message(f"{application}/chats/1", "hello")
    wait_for_state(stream, state(1, 2, 0))
    last = f"Last-Event-ID: {stream.stream.last_event_id}"
    api.message(f"{application}/chats/2", "missed")
    api.wait_for_numbers(f"{application}/chats/2/messages", [1])
    with Listener(stack.crud_url, f"{application}/stream", last) as again:
        assert again.next().type == "ready"
        api.message(f"{application}/chats/1", "hello")
        wait_for_state(again, state(1, 3, 0))
