"""What a stream sends: where it starts, what follows, and in what shape."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import psycopg
import pytest

from bench.running_stack import RunningStack
from local_stack.applications import ROOT
from local_stack.ports import PLAIN_HTTP
from tests.api_client import Api
from tests.live.listener import Listener, Seen

QUIET_SECONDS = 1.6
AWKWARD = (
    "two\nlines",
    "CR\rCRLF\r\nand\n\nblank",
    "a\u2028b\u2029c\x85d",
    "data: x\n\nevent: message.deleted\n\n",
    "\ufeffwith a mark",
    ": a comment",
    "\x01\x08\x0b\x0c\x1b\x1f\x7f and what shows",
    ' leading, "quotes", \\ and trailing ',
    "👩‍👩‍👧 é́",
)


@pytest.fixture
def requeue(stack: RunningStack) -> Iterator[Callable[[], None]]:
    """Have PostgreSQL reject bodies that contain "poison", until this is called."""
    drop = "ALTER TABLE messages DROP CONSTRAINT IF EXISTS poison"
    manage = [sys.executable, "-m", "crud_service.manage", "requeue"]
    with psycopg.connect(stack.environment["DATABASE_URL"], autocommit=True) as connection:

        def accept_and_requeue() -> None:
            connection.execute(drop)
            subprocess.run(manage, cwd=ROOT, env={**os.environ, **stack.environment}, check=True)

        connection.execute(
            "ALTER TABLE messages ADD CONSTRAINT poison CHECK (body <> 'poison') NOT VALID"
        )
        yield accept_and_requeue
        connection.execute(drop)


@pytest.fixture
def stream(stack: RunningStack, chat: str) -> Iterator[Listener]:
    """A stream of the chat that starts now; its `ready` is read."""
    with Listener(stack.crud_url, f"{chat}/messages/stream") as listener:
        assert listener.next().type == "ready"
        yield listener


def edit(api: Api, path: str, body: str) -> None:
    answer = api.client.put(f"{api.crud}{path}", json={"body": body})
    assert answer.status_code == 200, answer.text


def types_and_numbers(events: list[Seen]) -> list[tuple[str, int]]:
    return [(event.type, event.data["number"]) for event in events]


def test_a_stream_begins_with_where_it_is(stack: RunningStack, api: Api, chat: str) -> None:
    edit(api, f"{chat}/messages/2", "edited")
    with Listener(stack.crud_url, f"{chat}/messages/stream") as stream:
        state = {"chat_number": 1, "highest_number": 3, "highest_change": 1}
        assert stream.next() == Seen("ready", "3.1", state)
        assert stream.stream.retry_ms == 2000
        # A block without an id would have the client forget its last one (WHATWG HTML, 9.2.6).
        assert b"\nid: " in stream.body.split(b"\n\n")[0]
        assert stream.headers["content-type"].partition(";")[0] == "text/event-stream"
        assert stream.headers["cache-control"] == "no-store"
        assert stream.headers["x-accel-buffering"] == "no"
        assert stream.headers["x-request-id"]


def test_an_event_holds_the_message_as_it_is_read(api: Api, chat: str, stream: Listener) -> None:
    assert api.message(chat, "the fourth") == 4
    created = stream.next()
    assert (created.type, created.id) == ("message.created", "4.0")
    message = api.get(f"{chat}/messages/4")
    assert created.data == {"chat_number": 1, **message}
    edit(api, f"{chat}/messages/1", "edited")
    updated = stream.next()
    assert (updated.type, updated.id) == ("message.updated", "4.1")
    message = api.get(f"{chat}/messages/1")
    assert updated.data == {"chat_number": 1, **message}


def test_every_change_of_a_message_is_sent(
    stack: RunningStack, api: Api, chat: str, stream: Listener
) -> None:
    edit(api, f"{chat}/messages/2", "by a PUT")
    assert stream.next().data["body"] == "by a PUT"
    token = chat.split("/")[2]
    with psycopg.connect(stack.environment["DATABASE_URL"]) as connection:
        connection.execute(
            "UPDATE messages m SET body = 'by hand' FROM chats c, applications a WHERE"
            " c.id = m.chat_id AND a.id = c.application_id AND a.access_token = %s"
            " AND m.number <= 2",
            (token,),
        )
        assert stream.quiet(QUIET_SECONDS), "sent before the commit"
    updates = stream.take(2)
    assert {event.data["number"] for event in updates} == {1, 2}
    assert {event.data["body"] for event in updates} == {"by hand"}
    assert [event.id for event in updates] == ["3.2", "3.3"]


def test_a_put_that_changes_nothing_sends_nothing(api: Api, chat: str, stream: Listener) -> None:
    edit(api, f"{chat}/messages/2", "message 2")
    assert stream.quiet(QUIET_SECONDS)


def test_a_deletion_is_an_event_with_the_tombstone(
    stack: RunningStack, api: Api, chat: str, stream: Listener
) -> None:
    assert api.client.delete(f"{api.crud}{chat}/messages/2").status_code == 204
    deleted = stream.next()
    assert (deleted.type, deleted.id) == ("message.deleted", "3.1")
    assert deleted.data == {"chat_number": 1, **api.get(f"{chat}/messages/2")}
    assert (deleted.data["body"], "deleted_at" in deleted.data) == ("", True)
    # No number is skipped for a client that has not seen the message before.
    with Listener(stack.crud_url, f"{chat}/messages/stream?after=1") as late:
        assert late.next().type == "ready"
        created = [event for event in late.take(2) if event.type == "message.created"]
    assert [event.data["number"] for event in created] == [2, 3]


@pytest.mark.parametrize(("path", "code"), [("/chats/1", "chat_deleted"), ("", "not_found")])
def test_a_stream_ends_with_its_chat_or_its_application(
    api: Api, chat: str, stream: Listener, path: str, code: str
) -> None:
    application = chat.removesuffix("/chats/1")
    with Listener(api.crud, f"{application}/stream") as inbox:
        assert inbox.next().type == "ready"
        answer = api.client.delete(f"{api.crud}{application}{path}")
        assert answer.status_code in {202, 204}
        assert stream.rest() == []
        again = api.client.get(f"{api.crud}{chat}/messages/stream")
        assert again.json()["code"] == code
        if path:
            assert inbox.next().data["chat_number"] == 1
        else:
            assert inbox.rest() == []


def test_a_list_that_waits_is_answered_when_its_chat_is_deleted(api: Api, chat: str) -> None:
    url = f"{api.crud}{chat}/messages?after=3&wait=30"
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(httpx.get, url, timeout=40, **PLAIN_HTTP)
        time.sleep(0.5)
        assert api.client.delete(f"{api.crud}{chat}").status_code == 204
        assert waiting.result(timeout=15).status_code == 410


@pytest.mark.parametrize("body", AWKWARD)
def test_a_body_survives_to_the_letter(api: Api, chat: str, stream: Listener, body: str) -> None:
    api.message(chat, body)
    assert stream.next().data["body"] == body
    edit(api, f"{chat}/messages/1", body)
    assert stream.next().data["body"] == body


def test_the_longest_bodies_arrive_whole_and_in_order(
    stack: RunningStack, api: Api, chat: str
) -> None:
    for number in range(4, 24):
        assert api.message(chat, f"{number} " + "語" * 21_000) == number
    api.wait_for_numbers(f"{chat}/messages", list(range(1, 24)))
    with Listener(stack.crud_url, f"{chat}/messages/stream?after=0") as stream:
        stream.next()
        events = stream.take(23)
        assert types_and_numbers(events) == [("message.created", n) for n in range(1, 24)]
        assert {len(event.data["body"]) for event in events[9:]} == {21_003}


@pytest.mark.parametrize(
    ("query", "header", "start"),
    [
        ("?after=1", "", 1),
        ("?after=0", "", 0),
        ("?last_event_id=2.0", "", 2),
        ("?last_event_id=2.0&after=0", "", 2),
        ("?after=0", "1.0", 1),
        ("?last_event_id=0.0&after=0", "2.0", 2),
        ("", "1.0", 1),
        ("", "3.0", 3),
        ("?last_event_id=", "", 3),
    ],
)
def test_a_stream_starts_behind_the_last_event_id_else_behind_after_else_now(
    stack: RunningStack, chat: str, query: str, header: str, start: int
) -> None:
    lines = [f"Last-Event-ID: {header}"] if header else []
    with Listener(stack.crud_url, f"{chat}/messages/stream{query}", *lines) as stream:
        ready = stream.next()
        assert (ready.type, ready.id) == ("ready", f"{start}.0")
        expected = [("message.created", number) for number in range(start + 1, 4)]
        assert types_and_numbers(stream.take(3 - start)) == expected
        assert stream.quiet(QUIET_SECONDS)


def test_a_resumed_stream_sends_changes_before_new_messages(
    stack: RunningStack, api: Api, chat: str
) -> None:
    edit(api, f"{chat}/messages/3", "edited before it was seen")
    for body in ("once", "twice"):
        edit(api, f"{chat}/messages/1", body)
    edit(api, f"{chat}/messages/2", "and this")
    with Listener(stack.crud_url, f"{chat}/messages/stream", "Last-Event-ID: 2.0") as stream:
        assert stream.next().id == "2.0"
        events = stream.take(3)
    assert types_and_numbers(events) == [
        ("message.updated", 1),
        ("message.updated", 2),
        ("message.created", 3),
    ]
    bodies = [event.data["body"] for event in events]
    assert bodies == ["twice", "and this", "edited before it was seen"]
    with Listener(
        stack.crud_url, f"{chat}/messages/stream", f"Last-Event-ID: {events[-1].id}"
    ) as stream:
        assert stream.next().type == "ready"
        assert stream.quiet(QUIET_SECONDS)


@pytest.mark.parametrize("header", ["4.0", "3.1", "9223372036854775807.0", "0.5"])
def test_an_id_ahead_of_what_is_stored_is_reset(
    stack: RunningStack, api: Api, chat: str, header: str
) -> None:
    with Listener(stack.crud_url, f"{chat}/messages/stream", f"Last-Event-ID: {header}") as stream:
        assert stream.status == 200
        ready, reset = stream.take(2)
        assert (ready.type, reset.type, ready.id, reset.id) == ("ready", "reset", "3.0", "3.0")
        assert api.message(chat, "the fourth") == 4
        assert types_and_numbers([stream.next()]) == [("message.created", 4)]


def test_a_number_that_was_set_aside_comes_as_an_update(
    stack: RunningStack, api: Api, chat: str, stream: Listener, requeue: Callable[[], None]
) -> None:
    assert api.message(chat, "poison") == 4
    assert api.message(chat, "the fifth") == 5
    assert types_and_numbers([stream.next()]) == [("message.created", 5)]
    requeue()
    event = stream.next()
    assert (event.type, event.id, event.data["number"]) == ("message.updated", "5.1", 4)
    assert event.data["body"] == "poison"
    with Listener(stack.crud_url, f"{chat}/messages/stream?after=0") as late:
        numbers = [event.data["number"] for event in late.take(6)[1:]]
        assert numbers == [1, 2, 3, 4, 5]


def test_data_is_one_line_of_json(stack: RunningStack, api: Api, chat: str) -> None:
    for body in AWKWARD:
        api.message(chat, body)
    count = 3 + len(AWKWARD)
    api.wait_for_numbers(f"{chat}/messages", list(range(1, count + 1)))
    with Listener(stack.crud_url, f"{chat}/messages/stream?after=0") as stream:
        stream.take(count + 1)
        lines = stream.body.split(b"\n")
    data = [line for line in lines if line.startswith(b"data:")]
    assert len(data) == count + 1
    assert [json.loads(line[5:])["body"] for line in data[4:]] == list(AWKWARD)
