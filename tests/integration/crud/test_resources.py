"""Single resources: their exact shapes, and missing ones."""

import re
import time

import httpx
import pytest
import redis

from contract import keys
from tests.integration.breakable import Breakable
from tests.integration.crud_rows import Database, add_chat_of, add_chats, token_of

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
UNKNOWN = "/applications/" + "x" * 24


@pytest.fixture
def chat(database: Database, application: str) -> str:
    return add_chat_of(database, application, 3, 'héllo\n"wörld" \\ \t 🙂 مرحبا')


@pytest.fixture
def sequences(clean_crud: dict[str, str]) -> "redis.Redis":
    return redis.Redis.from_url(clean_crud["REDIS_URL"])


def test_an_application_has_exactly_its_keys_in_order(http: httpx.Client) -> None:
    created = http.post("/applications", json={"name": "Käse 🧀"})
    body = created.json()
    assert created.status_code == 201
    assert list(body) == ["name", "access_token", "created_at", "updated_at", "chat_count"]
    assert body["name"] == "Käse 🧀"
    assert re.fullmatch("[A-Za-z0-9]{24}", body["access_token"])
    assert (body["chat_count"], body["created_at"]) == (0, body["updated_at"])
    assert TIME.fullmatch(body["created_at"])


def test_a_created_application_is_where_location_says(http: httpx.Client) -> None:
    created = http.post("/applications", json={"name": "x"})
    location = created.headers["Location"]
    assert location == f"http://crud.test/applications/{created.json()['access_token']}"
    found = http.get(location)
    assert found.content == created.content
    assert found.headers["ETag"] == created.headers["ETag"]


def test_a_chat_has_exactly_its_keys_in_order(http: httpx.Client, chat: str) -> None:
    body = http.get(chat).json()
    assert list(body) == ["number", "message_count", "created_at", "updated_at"]
    assert (body["number"], body["message_count"]) == (1, 3)
    assert TIME.fullmatch(body["created_at"])


def test_a_message_has_exactly_its_keys_and_its_text_verbatim(
    http: httpx.Client, chat: str
) -> None:
    answer = http.get(f"{chat}/messages/2")
    body = answer.json()
    assert list(body) == ["number", "body", "created_at", "updated_at"]
    assert body["body"] == 'héllo\n"wörld" \\ \t 🙂 مرحبا'
    assert "héllo" in answer.text  # as UTF-8, and not as \u escapes
    assert answer.headers["Content-Type"] == "application/json"


def test_times_are_cut_to_milliseconds_and_keep_their_zeros(
    http: httpx.Client, database: Database, application: str
) -> None:
    database.execute("UPDATE applications SET created_at = '2022-08-09 22:17:52.0409Z'")
    assert http.get(application).json()["created_at"] == "2022-08-09T22:17:52.040Z"


@pytest.mark.parametrize("path", ["", "/chats", "/chats/1", "/chats/1/messages"])
def test_resources_of_an_unknown_application_are_not_found(http: httpx.Client, path: str) -> None:
    answer = http.get(UNKNOWN + path)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_a_chat_or_message_that_was_never_numbered_is_not_found(
    http: httpx.Client, chat: str, application: str
) -> None:
    for path in (f"{application}/chats/2", f"{application}/chats/2/messages", f"{chat}/messages/4"):
        answer = http.get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
        assert "Retry-After" not in answer.headers


def test_an_assigned_number_is_not_stored_yet(
    http: httpx.Client, chat: str, application: str, sequences: "redis.Redis"
) -> None:
    token = token_of(application)
    sequences.set(keys.chat_sequence(token), 2)
    sequences.set(keys.message_sequence(token, 1), 4)
    for path in (f"{application}/chats/2", f"{application}/chats/2/messages", f"{chat}/messages/4"):
        answer = http.get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_stored_yet")
        assert answer.headers["Retry-After"] == "1"
    assert http.put(f"{chat}/messages/4", json={"body": "x"}).json()["code"] == "not_stored_yet"


@pytest.mark.parametrize(
    ("state", "code"),
    [(keys.UNKNOWN, "not_found"), (keys.DELETED, "not_found"), (keys.DELETING, "not_stored_yet")],
)
def test_a_sequence_without_a_number_is_nothing_to_warn_of(
    http: httpx.Client,
    application: str,
    sequences: "redis.Redis",
    caplog: pytest.LogCaptureFixture,
    state: str,
    code: str,
) -> None:
    """It is not known what is being deleted: its deletion may come to nothing."""
    sequences.set(keys.message_sequence(token_of(application), 7), state)
    assert http.get(f"{application}/chats/7/messages/1").json()["code"] == code
    assert [each for each in caplog.records if each.name.startswith("crud_service")] == []


@pytest.mark.parametrize("shards", [1, 2])
def test_a_silent_redis_delays_few_404s(
    http: httpx.Client, application: str, clean_crud: dict[str, str], shards: int
) -> None:
    from django.test import override_settings

    from crud_service.stores.redis_clients import api_redis

    api_redis.cache_clear()
    with (
        Breakable(clean_crud["REDIS_URL"]) as link,
        override_settings(REDIS_URL=link.url, SHARDS=shards),
    ):
        assert http.get(f"{application}/chats/7").status_code == 404
        link.frozen = True
        started = time.monotonic()
        for _ in range(20):
            assert http.get(f"{application}/chats/7").status_code == 404
        assert time.monotonic() - started < 10  # a time-out each would take longer
    api_redis.cache_clear()


def test_a_message_of_a_chat_not_stored_yet_is_not_stored_yet(
    http: httpx.Client, application: str, sequences: "redis.Redis"
) -> None:
    sequences.set(keys.message_sequence(token_of(application), 1), 2)
    assert http.get(f"{application}/chats/1/messages/2").json()["code"] == "not_stored_yet"
    assert http.get(f"{application}/chats/1/messages/3").json()["code"] == "not_found"


def test_a_number_assigned_in_another_chat_makes_nothing_exist_here(
    http: httpx.Client, database: Database, application: str, sequences: "redis.Redis"
) -> None:
    add_chats(database, application, 1)
    sequences.set(keys.message_sequence(token_of(application), 2), 9)
    assert http.get(f"{application}/chats/1/messages/2").json()["code"] == "not_found"
