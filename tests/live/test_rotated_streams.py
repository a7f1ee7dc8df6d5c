"""Streams end when their access token is rotated; those of the new one follow the same chats."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import psycopg
import pytest

from bench.running_stack import RunningStack
from local_stack.ports import PLAIN_HTTP
from tests.api_client import Api
from tests.live.listener import Listener

KEY = {"Idempotency-Key": "once"}
NEW_TOKEN = "RotatedWithoutAnyWordOfI"


@pytest.fixture
def database(stack: RunningStack) -> Iterator[psycopg.Connection]:
    with psycopg.connect(stack.environment["DATABASE_URL"], autocommit=True) as connection:
        yield connection


@pytest.fixture
def application(chat: str) -> str:
    return chat.removesuffix("/chats/1")


@pytest.fixture
def stream(stack: RunningStack, chat: str) -> Iterator[Listener]:
    """A stream of the chat under its first token; its `ready` is read."""
    with Listener(stack.crud_url, f"{chat}/messages/stream") as listener:
        assert listener.next().type == "ready"
        yield listener


@pytest.fixture
def inbox(stack: RunningStack, application: str) -> Iterator[Listener]:
    """A stream of the application under its first token; its `ready` is read."""
    with Listener(stack.crud_url, f"{application}/stream") as listener:
        assert listener.next().type == "ready"
        yield listener


def rotate(api: Api, application: str) -> str:
    answer = api.client.post(f"{api.crud}{application}/rotate", headers=KEY)
    assert answer.status_code == 200, answer.text
    return f"/applications/{answer.json()['access_token']}"


def rotate_unannounced(database: psycopg.Connection, application: str) -> str:
    """Rotate as if the announcement was lost: in the table alone."""
    former = application.rpartition("/")[2]
    database.execute("DELETE FROM applications WHERE access_token = %s", (NEW_TOKEN,))
    statement = "UPDATE applications SET access_token = %s WHERE access_token = %s"
    assert database.execute(statement, (NEW_TOKEN, former)).rowcount == 1
    return f"/applications/{NEW_TOKEN}"


@pytest.fixture
def unannounced(database: psycopg.Connection, application: str) -> Iterator[str]:
    """The path of the application after such a rotation; its token is given back afterwards."""
    yield rotate_unannounced(database, application)
    database.execute(
        "UPDATE applications SET access_token = %s WHERE access_token = %s",
        (application.rpartition("/")[2], NEW_TOKEN),
    )


def expect_to_end(stream: Listener, inbox: Listener) -> None:
    """Wait until both have ended without a word of what came after the rotation."""
    assert stream.rest() == []
    # The third message, the last one before it, may only now be announced to the application.
    assert [seen for seen in inbox.rest() if seen.data["highest_number"] != 3] == []


def test_streams_end_with_their_token(
    api: Api, chat: str, application: str, stream: Listener, inbox: Listener
) -> None:
    renamed = rotate(api, application)
    expect_to_end(stream, inbox)
    for path in (f"{chat}/messages/stream", f"{application}/stream"):
        answer = api.client.get(f"{api.crud}{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    with Listener(api.crud, f"{renamed}/chats/1/messages/stream", "Last-Event-ID: 2.0") as again:
        assert again.next().type == "ready"
        assert again.next().data["number"] == 3
        assert api.message(f"{renamed}/chats/1", "under the new token") == 4
        assert again.next().data["number"] == 4


def test_a_list_that_waits_is_answered_when_its_token_is_rotated(
    api: Api, chat: str, application: str
) -> None:
    url = f"{api.crud}{chat}/messages?after=3&wait=30"
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(httpx.get, url, timeout=40, **PLAIN_HTTP)
        time.sleep(0.5)
        rotate(api, application)
        assert waiting.result(timeout=15).status_code == 404


def test_streams_end_if_the_announcement_is_lost(
    stream: Listener, inbox: Listener, unannounced: str
) -> None:
    expect_to_end(stream, inbox)


def test_streams_of_the_new_token_are_looked_after_once_those_of_the_former_have_ended(
    api: Api, database: psycopg.Connection, stream: Listener, inbox: Listener, unannounced: str
) -> None:
    """Both follow a chat, and an application, of the same id for a while."""
    with (
        Listener(api.crud, f"{unannounced}/chats/1/messages/stream") as renamed,
        Listener(api.crud, f"{unannounced}/stream") as renamed_inbox,
    ):
        assert renamed.next().type == renamed_inbox.next().type == "ready"
        expect_to_end(stream, inbox)
        # Written without an announcement, so that only a look can find it.
        database.execute(
            "WITH added AS (INSERT INTO messages (chat_id, number, body, created_at, updated_at)"
            " SELECT c.id, 4, 'unannounced', now(), now() FROM chats c"
            " JOIN applications a ON a.id = c.application_id WHERE a.access_token = %s"
            " RETURNING id, chat_id)"
            " UPDATE chats SET message_count = 4, highest_number = 4, last_message_id = added.id"
            " FROM added WHERE chats.id = added.chat_id",
            (NEW_TOKEN,),
        )
        assert renamed.next().data["body"] == "unannounced"
        assert renamed_inbox.next().data["highest_number"] == 4
