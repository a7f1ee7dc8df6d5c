"""Rotation: a new access token, once for each idempotency key, and no number twice."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psycopg
import pytest
import redis
from django.test import override_settings

from contract import keys
from contract.entries import FIELDS
from tests.conftest import INTERNAL_TOKEN
from tests.integration.conftest import BetweenCalls
from tests.integration.crud_rows import Database, add_chat_of, token_of
from web.problems import NotFound, Overloaded, StoreUnavailable

KEY = {"Idempotency-Key": "once"}


@pytest.fixture
def valkey_client(clean_crud: dict[str, str]) -> Any:
    with redis.Redis.from_url(clean_crud["REDIS_URL"]) as client:
        yield client


def rotate(http: httpx.Client, application: str, key: str = "once") -> httpx.Response:
    return http.post(f"{application}/rotate", headers={"Idempotency-Key": key})


def new_path(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    return f"/applications/{answer.json()['access_token']}"


def seeded(http: httpx.Client, application: str, chat: str = "") -> httpx.Response:
    headers = {"Authorization": f"Bearer {INTERNAL_TOKEN}"}
    return http.get(f"/internal/sequences/{token_of(application)}{chat}", headers=headers)


def accept(client: Any, token: str, chat: str, number: int, body: str = "") -> str:
    """Put an entry into the stream as numbers.lua does."""
    values = (token, chat, str(number), body, "request")
    entry_id: bytes = client.xadd(keys.ACCEPTED, dict(zip(FIELDS, values, strict=True)))
    return entry_id.decode()


def drain(client: Any) -> None:
    from crud_service.persist.drain import drain_accepted

    drain_accepted(client)


def test_the_application_is_the_same_under_a_new_token(
    http: httpx.Client, database: Database, application: str
) -> None:
    chat = add_chat_of(database, application, 3)
    before = http.get(application).json()
    messages = http.get(f"{chat}/messages").json()
    answer = rotate(http, application)
    renamed = new_path(answer)
    assert renamed != application
    assert answer.json() == http.get(renamed).json()
    assert answer.headers["ETag"] == http.get(renamed).headers["ETag"]
    same = {"name", "created_at", "chat_count"}
    assert {name: answer.json()[name] for name in same} == {name: before[name] for name in same}
    assert http.get(f"{renamed}/chats/1/messages").json() == messages
    assert [it["access_token"] for it in http.get("/applications").json()] == [token_of(renamed)]


@pytest.mark.parametrize(
    "path", ["", "/chats", "/chats/1", "/chats/1/messages", "/chats/1/messages/1", "/export"]
)
def test_the_former_token_is_404(
    http: httpx.Client, database: Database, valkey_client: Any, application: str, path: str
) -> None:
    add_chat_of(database, application, 1)
    valkey_client.set(keys.message_sequence(token_of(application), 1), "1")
    new_path(rotate(http, application))
    answer = http.get(f"{application}{path}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("path", ["/chats/2", "/chats/1/messages", "/chats/1/messages/1"])
def test_the_former_token_is_404_before_redis_knows_of_it(
    http: httpx.Client, database: Database, valkey_client: Any, application: str, path: str
) -> None:
    """The process that rotated was killed right after its commit."""
    from crud_service.api.rotation import rotating

    former = token_of(application)
    add_chat_of(database, application, 1)
    valkey_client.set(keys.chat_sequence(former), "2")
    valkey_client.set(keys.message_sequence(former, 1), "1")
    rotating.begin(former, "once")
    answer = http.get(f"{application}{path}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_a_repeat_gets_the_same_answer_for_a_day(
    http: httpx.Client, database: Database, application: str
) -> None:
    first = rotate(http, application)
    again = rotate(http, application)
    assert (again.status_code, again.content) == (200, first.content)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers
    another = rotate(http, application, "another")
    assert (another.status_code, another.json()["code"]) == (404, "not_found")
    database.execute("UPDATE rotations SET rotated_at = rotated_at - interval '25 hours'")
    assert rotate(http, application).status_code == 404


def test_the_same_key_rotates_another_token(http: httpx.Client, application: str) -> None:
    second = new_path(rotate(http, application))
    third = new_path(rotate(http, second))
    assert len({application, second, third}) == 3
    assert http.get(second).status_code == 404
    assert http.get(third).status_code == 200


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": ""}, {"Idempotency-Key": "x" * 256}])
def test_without_a_valid_key_it_is_422(
    http: httpx.Client, application: str, headers: dict[str, str]
) -> None:
    answer = http.post(f"{application}/rotate", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")
    assert answer.json()["errors"][0]["field"] == "Idempotency-Key"
    assert http.get(application).status_code == 200


def test_an_unknown_token_is_404(http: httpx.Client) -> None:
    assert rotate(http, f"/applications/{'x' * 24}").status_code == 404


def test_it_needs_the_admin_token_where_one_is_set(http: httpx.Client, application: str) -> None:
    url = f"{application}/rotate"
    with override_settings(ADMIN_TOKEN="of the admin"):
        assert http.post(url, headers=KEY).status_code == 401
        assert http.get(application).status_code == 200
        admin = {"Authorization": "Bearer of the admin"}
        assert http.post(url, headers=KEY | admin).status_code == 200


def test_what_was_accepted_under_the_former_token_is_stored_and_never_numbered_again(
    http: httpx.Client, database: Database, valkey_client: Any, application: str
) -> None:
    """A creation that is numbered between the swap and its refusal, the worst moment."""
    from crud_service.api.rotation import rotating

    former = token_of(application)
    add_chat_of(database, application, 2)
    rotating_only = rotating.begin(former, "once")
    assert rotating_only is not None
    accept(valkey_client, former, "", 2)
    accept(valkey_client, former, "1", 3, "late")
    accept(valkey_client, former, "2", 1, "the first")
    renamed = new_path(httpx.Response(200, content=rotating_only.application))
    # Until it is stored, nobody learns from which number to go on.
    assert seeded(http, renamed).status_code == 503
    assert seeded(http, renamed, "/1").status_code == 503
    finish_one_step()
    assert seeded(http, renamed, "/1").status_code == 503
    drain(valkey_client)
    finish_one_step()
    assert seeded(http, renamed).json()["highest_number"] == 2
    assert seeded(http, renamed, "/1").json()["highest_number"] == 3
    bodies = [it["body"] for it in http.get(f"{renamed}/chats/1/messages").json()]
    assert bodies == ["message", "message", "late"]
    assert http.get(f"{renamed}/chats/2").json()["message_count"] == 1
    assert http.get(renamed).json()["chat_count"] == 2


def test_a_former_token_is_retired_together_with_a_look_at_what_waits(
    valkey_client: Any, application: str
) -> None:
    """Asked afterwards, another server might say that nothing waits."""
    from crud_service.chat.rotations import has_left, retire

    former = token_of(application)
    assert has_left(retire(valkey_client, former).first, "0-0")
    accept(valkey_client, former, "1", 2)
    retired = retire(valkey_client, former)
    assert retired.first.decode() == retired.last
    assert not has_left(retired.first, retired.last)
    valkey_client.delete(keys.ACCEPTED)


def finish_one_step() -> None:
    """What the worker does each second."""
    from crud_service.chat.rotations import finish_rotations
    from crud_service.postgresql import CHORES
    from crud_service.stores.database import connect_as

    with connect_as(CHORES) as connection:
        finish_rotations(connection)


def test_the_worker_finishes_what_a_killed_process_has_begun(
    http: httpx.Client, database: Database, valkey_client: Any, application: str
) -> None:
    from crud_service.api.rotation import rotating

    former = token_of(application)
    rotating.begin(former, "once")
    assert valkey_client.get(keys.chat_sequence(former)) != keys.DELETED.encode()
    finish_one_step()
    assert valkey_client.get(keys.chat_sequence(former)) == keys.DELETED.encode()
    assert database.execute("SELECT finished FROM rotations").fetchall() == [(True,)]


def test_a_repeat_finishes_it_as_well(
    http: httpx.Client, database: Database, application: str
) -> None:
    from crud_service.api.rotation import rotating

    begun = rotating.begin(token_of(application), "once")
    assert begun is not None
    assert rotate(http, application).content == begun.application
    assert database.execute("SELECT finished FROM rotations").fetchall() == [(True,)]


def test_numbers_set_aside_under_a_former_token_stay_taken(
    http: httpx.Client, database: Database, valkey_client: Any, application: str
) -> None:
    add_chat_of(database, application, 1)
    accept(valkey_client, token_of(application), "1", 2, "poison \x00")
    drain(valkey_client)
    renamed = new_path(rotate(http, application))
    assert seeded(http, renamed, "/1").json()["highest_number"] == 2


def test_an_entry_set_aside_before_is_requeued_into_the_same_application(
    http: httpx.Client, database: Database, valkey_client: Any, application: str
) -> None:
    from crud_service.persist.requeue import requeue

    add_chat_of(database, application, 1)
    accept(valkey_client, token_of(application), "1", 2, "refused")
    database.execute("ALTER TABLE messages ADD CONSTRAINT refusal CHECK (body <> 'refused')")
    try:
        drain(valkey_client)
    finally:
        database.execute("ALTER TABLE messages DROP CONSTRAINT refusal")
    renamed = new_path(rotate(http, application))
    assert requeue().stored.messages == 1
    assert http.get(f"{renamed}/chats/1/messages/2").json()["body"] == "refused"


def test_former_tokens_are_forgotten_beyond_a_thousand_unless_entries_have_them(
    http: httpx.Client, database: Database, application: str
) -> None:
    from crud_service.api.rotation.rotating import KEPT

    names = {n: f"{n:0>24}" for n in range(1, KEPT + 8)}
    database.execute(
        "INSERT INTO rotations (application_id, former_token, idempotency_key, answer, finished)"
        " SELECT a.id, token, 'k', '{}', token <> %s FROM applications a, unnest(%s::text[]) token",
        (names[2], list(names.values())),
    )
    database.execute(
        "INSERT INTO set_aside_entries (entry_id, access_token, payload, reason)"
        " VALUES ('1-0', %s, '{}', 'x')",
        (names[3],),
    )
    database.execute(
        "INSERT INTO conflicts (entry_id, access_token, number, body, accepted_at)"
        " VALUES ('1-0', %s, 1, '', now())",
        (names[5],),
    )
    new_path(rotate(http, application))
    rows = database.execute("SELECT former_token FROM rotations ORDER BY id").fetchall()
    expected = [*(names[n] for n in (2, 3, 5)), *(names[n] for n in range(9, KEPT + 8))]
    assert [token for (token,) in rows] == [*expected, token_of(application)]


def test_a_backlog_that_is_not_stored_changes_nothing(
    http: httpx.Client, valkey_client: Any, application: str
) -> None:
    from crud_service.api.rotation import rotating

    accept(valkey_client, token_of(application), "", 1)
    with pytest.raises(StoreUnavailable, match="nothing was changed"):
        rotating.rotate(token_of(application), "once", patience_seconds=0.2)
    assert http.get(application).status_code == 200
    with pytest.raises(NotFound):  # an unknown token does not wait
        rotating.rotate("x" * 24, "once", patience_seconds=0.2)


def test_two_at_once_with_different_keys_rotate_once(
    http: httpx.Client, database: Database, application: str
) -> None:
    from crud_service.api.rotation.rotating import ROTATE

    former = token_of(application)
    with psycopg.connect(database.info.dsn, password=database.info.password) as other:
        other.execute(ROTATE, ("n" * 24, former, former, "other"))
        database.execute("SET lock_timeout = '200ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            database.execute(ROTATE, ("m" * 24, former, former, "once"))
        other.commit()
    database.execute("SET lock_timeout = 0")
    assert database.execute(ROTATE, ("m" * 24, former, former, "once")).fetchall() == []
    assert rotate(http, application).status_code == 404
    assert http.get(f"/applications/{'n' * 24}").status_code == 200


@pytest.mark.parametrize("statements", [0, 1, 2, 3])
def test_a_repeat_gets_the_same_answer_whenever_the_first_request_ends(
    http: httpx.Client, application: str, between_calls: BetweenCalls, statements: int
) -> None:
    """The client repeats a request that has not answered in time, and both are under way."""
    from crud_service.api.rotation import rotating

    first = []

    def answer_the_first() -> None:
        first.append(rotate(http, application).json())

    names = ("fetch_before_change", "change")
    between_calls(rotating, *names, happen=answer_the_first, after=statements)
    repeat = rotating.rotate(token_of(application), "once")
    first = first or [rotate(http, application).json()]
    assert [json.loads(repeat.application)] == first


def test_one_application_leaves_a_place_to_others(
    http: httpx.Client, valkey_client: Any, application: str
) -> None:
    from crud_service.api.rotation import rotating

    def refusal_of(path: str) -> StoreUnavailable:
        with pytest.raises(StoreUnavailable) as refusal:
            rotating.rotate(token_of(path), "once", patience_seconds=2)
        return refusal.value

    token = http.post("/applications", json={"name": "Another"}).json()["access_token"]
    accept(valkey_client, token_of(application), "", 1)
    with ThreadPoolExecutor(5) as threads:
        loud = [threads.submit(refusal_of, application) for _ in range(4)]
        another = threads.submit(refusal_of, f"/applications/{token}")
    assert (
        sorted(isinstance(each.result(), Overloaded) for each in loud) == [False] * 2 + [True] * 2
    )
    # It has a place, and waits for what its shard has to store.
    assert not isinstance(another.result(), Overloaded)
