"""Headers that a request has twice: lists are joined, anything else is refused by both services."""

import pytest

from tests.hostile.conftest import Ground
from tests.hostile.wire import Reply, check_problem, exchange, request

KEYS = ("Idempotency-Key: one", "Idempotency-Key: two")


def etag_of(ground: Ground) -> str:
    return exchange(ground.crud, request("GET", ground.message)).headers["etag"]


def read_unless(ground: Ground, *tags: str) -> Reply:
    lines = [f"If-None-Match: {tag}" for tag in tags]
    return exchange(ground.crud, request("GET", ground.message, b"", *lines))


def test_two_idempotency_keys_create_nothing(ground: Ground) -> None:
    path = f"{ground.chat}/messages?body=x"
    check_problem(exchange(ground.numbering, request("POST", path, b"", *KEYS)), 422)
    ground.check_created(0)


@pytest.mark.parametrize("keys", [KEYS, KEYS[:1] * 2], ids=["different", "equal"])
def test_two_idempotency_keys_rotate_nothing(ground: Ground, keys: tuple[str, str]) -> None:
    rotated = exchange(ground.crud, request("POST", f"{ground.application}/rotate", b"", *keys))
    check_problem(rotated, 422)
    assert b"Must be a single header" in rotated.body
    ground.check_created(0)


def test_two_content_types_are_415(ground: Ground) -> None:
    lines = ("Content-Type: text/html", "Content-Type: application/json")
    body = b'{"body": "x", "name": "x"}'
    for given in (lines, lines[::-1], lines[1:] * 2):
        ground.refuse(lambda door, given=given: door.send(body, *given), 415)


def test_an_encoding_that_changes_nothing_is_accepted_however_often_it_is_named(
    ground: Ground,
) -> None:
    body = b'{"body": "before", "name": "before"}'
    for lines in (["identity"] * 2, ["identity, Identity"], [""], ["identity,", " "]):
        headers = ["Content-Type: application/json", *(f"Content-Encoding: {it}" for it in lines)]
        for door in ground.doors.values():
            assert door.send(body, *headers).status == door.accepted
        ground.check_created(1)


def test_an_encoding_among_others_is_415(ground: Ground) -> None:
    body = b'{"body": "x", "name": "x"}'
    for lines in (["identity", "gzip"], ["gzip", "identity"], ["identity, gzip"]):
        headers = ["Content-Type: application/json", *(f"Content-Encoding: {it}" for it in lines)]
        ground.refuse(lambda door, headers=headers: door.send(body, *headers), 415)


def test_two_positions_of_a_stream_are_422(ground: Ground) -> None:
    lines = ("Last-Event-ID: 1.0", "Last-Event-ID: 1.0")
    stream = request("GET", f"{ground.chat}/messages/stream", b"", *lines)
    check_problem(exchange(ground.crud, stream), 422)


def test_two_lists_of_entity_tags_are_one(ground: Ground) -> None:
    tag = etag_of(ground)
    assert read_unless(ground, '"a"', '"b"').status == 200
    assert read_unless(ground, '"a"', tag).status == 304
    lines = (f"If-Match: {tag}", 'If-Match: "a"', "Content-Type: application/json")
    same = b'{"body": "before"}'
    assert exchange(ground.crud, request("PUT", ground.message, same, *lines)).status == 200
    check_problem(exchange(ground.crud, request("PUT", ground.message, same, *lines[1:])), 412)
