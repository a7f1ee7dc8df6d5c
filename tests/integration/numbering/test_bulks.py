"""Several messages in one request, over HTTP."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import redis

from contract import keys
from numbering_service.creations.window import STALL_SECONDS
from tests.integration.numbering.surroundings import (
    MESSAGES,
    A,
    B,
    Numbering,
    Reply,
    Valkey,
    request,
)
from web.fields import MAX_BODY_BYTES, MAX_REQUEST_BYTES

BULK = f"{MESSAGES}/bulk"
OTHERS = BULK.replace(A, B)
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def service(own_valkey: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Numbering]:
    directory: Path = tmp_path_factory.mktemp("numbering")
    with Numbering(directory, own_valkey.url, "http://127.0.0.1:1", MAX_BACKLOG="1000") as running:
        yield running


@pytest.fixture(autouse=True)
def sequences(valkey: Valkey) -> redis.Redis:
    known = {keys.message_sequence(A, 1): 4, keys.message_sequence(B, 1): 0}
    valkey.client.mset(known | {keys.message_sequence(A, 2): keys.UNKNOWN})
    return valkey.client


def post(service: Numbering, document: Any, path: str = BULK, **headers: str) -> Reply:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return request(service.port, "POST", path, body, JSON | named)


def bulk(*bodies: object) -> dict[str, Any]:
    return {"messages": [{"body": body} for body in bodies]}


def errors(reply: Reply) -> list[dict[str, str]]:
    assert (reply.status, reply.code) == (422, "validation_failed")
    found: list[dict[str, str]] = json.loads(reply.body)["errors"]
    return found


def bodies(client: redis.Redis) -> list[bytes]:
    return [fields[b"body"] for _entry_id, fields in client.xrange(keys.ACCEPTED)]


@pytest.mark.parametrize("path", [BULK, f"{BULK}/"])
def test_messages_get_consecutive_numbers(
    service: Numbering, sequences: redis.Redis, path: str
) -> None:
    texts = ["a", "  b \n", "é🙂", "a"]
    reply = post(service, bulk(*texts), path, X_Request_ID="together")
    assert reply.status == 201
    assert reply.body == (
        b'{"first_number":5,"last_number":8,"chat_number":1,"access_token":"%s"}' % A.encode()
    )
    assert reply.headers["location"] == f"http://public{MESSAGES}?after=4&limit=4"
    assert bodies(sequences) == [text.encode() for text in texts]
    ids = {fields[b"request_id"] for _, fields in sequences.xrange(keys.ACCEPTED)}
    assert ids == {b"together"}


def test_a_key_repeats_all_of_a_bulk(service: Numbering, sequences: redis.Redis) -> None:
    first = post(service, bulk("a", "b"), Idempotency_Key="k")
    again = post(service, bulk("a", "b"), Idempotency_Key="k")
    assert (again.status, again.body) == (201, first.body)
    assert again.headers["idempotent-replayed"] == "true"
    other = post(service, bulk("a", "c"), Idempotency_Key="k")
    assert (other.status, other.code) == (422, "idempotency_key_reused")
    assert bodies(sequences) == [b"a", b"b"]


@pytest.mark.parametrize(
    ("document", "field", "message"),
    [
        ({}, "messages", "Is required."),
        (b"", "messages", "Is required."),
        ({"messages": None}, "messages", "Must be an array of 1 to 500 messages."),
        ({"messages": {"body": "x"}}, "messages", "Must be an array of 1 to 500 messages."),
        ({"messages": []}, "messages", "Must be an array of 1 to 500 messages."),
        (bulk(*["x"] * 501), "messages", "Must be an array of 1 to 500 messages."),
        ({"messages": [{"body": "x"}, "x"]}, "messages[1]", "Must be an object."),
        ({"messages": [{"body": "x"}, {}]}, "messages[1].body", "Is required."),
        (bulk("x", "x", "x", 3), "messages[3].body", "Must be a string."),
        (bulk("x", " "), "messages[1].body", "Must not be blank."),
        (bulk("x\0", "x"), "messages[0].body", "Must not contain the character U+0000."),
        (
            bulk("x" * (MAX_BODY_BYTES + 1)),
            "messages[0].body",
            f"Must have at most {MAX_BODY_BYTES} bytes of UTF-8.",
        ),
    ],
)
def test_one_message_that_is_not_valid_refuses_all(
    service: Numbering, sequences: redis.Redis, document: Any, field: str, message: str
) -> None:
    assert errors(post(service, document, Idempotency_Key="k")) == [
        {"field": field, "message": message}
    ]
    assert bodies(sequences) == []
    assert sequences.get(keys.message_sequence(A, 1)) == b"4"
    assert not sequences.exists(keys.idempotency(A, 1, "k"))


def test_messages_keep_their_optional_fields(service: Numbering, sequences: redis.Redis) -> None:
    document = (
        b'{"messages": [{"body": "a", "sender": "Ann"}, {"body": "b"},'
        b' {"body": "c", "reply_to": 6, "metadata": {"x": 1.10000000000000000001}}]}'
    )
    assert post(service, document, Idempotency_Key="k").number == 5
    entries = [fields for _, fields in sequences.xrange(keys.ACCEPTED)]
    assert [json.loads(fields.get(b"attributes", b"null")) for fields in entries[:2]] == [
        {"sender": "Ann"},
        None,
    ]
    assert b'{"x":1.10000000000000000001}' in entries[2][b"attributes"]
    assert b'"reply_to":6' in entries[2][b"attributes"]
    assert post(service, bulk("a", "b", "c"), Idempotency_Key="k").code == "idempotency_key_reused"


@pytest.mark.parametrize(("reply_to", "accepted"), [(1, True), (5, True), (6, False), (99, False)])
def test_a_reply_in_a_bulk_is_to_an_earlier_message(
    service: Numbering, sequences: redis.Redis, reply_to: int, accepted: bool
) -> None:
    document = {"messages": [{"body": "a"}, {"body": "b", "reply_to": reply_to}]}
    reply = post(service, document)
    if accepted:
        assert reply.number == 5
        return
    assert [error["field"] for error in errors(reply)] == ["messages[1].reply_to"]
    assert sequences.xlen(keys.ACCEPTED) == 0
    assert sequences.get(keys.message_sequence(A, 1)) == b"4"


def test_a_refused_reply_in_a_bulk_of_one_is_named_by_its_place(service: Numbering) -> None:
    reply = post(service, {"messages": [{"body": "a", "reply_to": 5}]})
    assert [error["field"] for error in errors(reply)] == ["messages[0].reply_to"]


def test_every_mistake_is_named_up_to_a_number(service: Numbering) -> None:
    found = errors(post(service, bulk("x", "", "x", None, *[""] * 400)))
    assert [error["field"] for error in found[:2]] == ["messages[1].body", "messages[3].body"]
    assert len(found) == 20


def test_a_form_holds_no_bulk(service: Numbering) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    reply = request(service.port, "POST", BULK, b"messages=x", form)
    assert errors(reply)[0]["field"] == "messages"
    malformed = post(service, b'{"messages": [')
    assert (malformed.status, malformed.code) == (400, "malformed_body")


def test_the_largest_bulk_fits_and_a_larger_one_is_413(
    service: Numbering, sequences: redis.Redis
) -> None:
    longest = bulk(*["x" * MAX_BODY_BYTES] * 15)
    assert post(service, longest).number == 5
    assert post(service, bulk(*["y"] * 500)).number == 20
    assert sequences.xlen(keys.ACCEPTED) == 515
    assert post(service, bulk(*["x" * MAX_BODY_BYTES] * 16)).status == 413
    padded = json.dumps(bulk("x")).encode().ljust(MAX_REQUEST_BYTES)
    assert post(service, padded).status == 201


def test_a_bulk_needs_room_in_the_backlog_for_all_of_it(
    service: Numbering, sequences: redis.Redis
) -> None:
    assert post(service, bulk(*["x"] * 499)).status == 201
    assert post(service, bulk(*["x"] * 500)).status == 201
    full = post(service, bulk("x", "x"))
    assert (full.status, full.code) == (503, "overloaded")
    assert post(service, bulk("x")).status == 201
    assert sequences.get(keys.message_sequence(A, 1)) == b"1004"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (BULK.replace("/1/", "/2/"), 404),
        (BULK.replace("/1/", "/0/"), 404),
        (f"{BULK}/x", 404),
        (f"{BULK}x", 404),
        (f"/applications/{A}/chats/bulk", 404),
    ],
)
def test_other_paths_are_no_bulks(service: Numbering, path: str, status: int) -> None:
    assert post(service, bulk("x"), path).status == status


def test_a_bulk_is_only_posted(service: Numbering) -> None:
    reply = request(service.port, "GET", BULK)
    assert (reply.status, reply.headers["allow"]) == (405, "POST")


def test_the_log_names_the_route(service: Numbering) -> None:
    post(service, bulk("x"), X_Request_ID="logged")
    metrics = request(service.port, "GET", "/metrics").body.decode()
    assert 'route="/applications/{access_token}/chats/{chat_number}/messages/bulk"' in metrics


def test_a_burst_of_bulks_is_let_in_as_it_is_stored(
    own_valkey: Valkey, sequences: redis.Redis, tmp_path: Path
) -> None:
    """From the first request of a process on: a persister is there, and has stored nothing yet.

    One may be on its way at first, and sixteen more wait; what is beyond is refused unread.
    """
    megabyte = bulk(*["x" * 60_000] * 17)
    with (
        Numbering(tmp_path, own_valkey.url, "http://127.0.0.1:1") as fresh,
        ThreadPoolExecutor(24) as clients,
    ):
        sequences.set(keys.LEASE_PERSIST, "a worker", ex=60)
        started = time.monotonic()
        sent = [clients.submit(post, fresh, megabyte) for _ in range(19)]
        refused = [reply.result() for reply in islice(as_completed(sent), 3)]
        unread = post(fresh, b"{" + b" " * len(json.dumps(megabyte)))
        others = post(fresh, bulk("x"), OTHERS)
        if time.monotonic() - started > STALL_SECONDS / 2:
            pytest.skip("TOO BUSY: nineteen megabytes took half as long as they are held back")
        assert sorted(reply.status for reply in refused) == [201] + [503] * 2
        assert (unread.status, unread.code) == (503, "overloaded")
        assert others.status == 201, "nobody else is held back"
        while not all(reply.done() for reply in sent):
            sequences.xtrim(keys.ACCEPTED, maxlen=0, approximate=False)
            time.sleep(0.05)
        numbers = [json.loads(reply.result().body).get("first_number") for reply in sent]
    assert numbers.count(None) == 2
    assert sorted(filter(None, numbers)) == list(range(5, 5 + 17 * 17, 17))
