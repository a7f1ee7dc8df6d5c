"""Bulks in numbers.lua on a real Valkey: all of their messages or none."""

from collections.abc import Iterator

import pytest
import redis

from contract import keys
from numbering_service.creation import Bulk, Creation
from numbering_service.creations.bulks import MAX_MESSAGES
from numbering_service.rate_limits import Rate
from tests.contract.test_numbers_script import (
    FULL,
    MISSING,
    REFUSED,
    REUSED,
    UNKNOWN,
    A,
    Numbering,
    chat,
    message,
    post,
)
from tests.contract.test_rate_limits import LIMITED, LIMITER_A, content, numbers


@pytest.fixture
def numbering(redis_url: str) -> Iterator[Numbering]:
    with redis.Redis.from_url(redis_url, protocol=2) as client:
        yield Numbering(client)


def bulk(chat_number: int, *bodies: str, key: str = "") -> Bulk:
    return Bulk(tuple(Creation(A, chat_number, body, "r") for body in bodies), key)


def test_bulks_and_single_creations_share_a_batch(numbering: Numbering) -> None:
    batch = [post(1, "a"), bulk(1, "b", "c", "d"), chat(), bulk(2, "e"), post(1, "f")]
    assert numbering.answers(*batch) == [1, 2, 3, 41, 5]
    assert numbering.entries() == [
        (b"1", b"1", b"a"),
        (b"1", b"2", b"b"),
        (b"1", b"3", b"c"),
        (b"1", b"4", b"d"),
        (b"", b"3", b""),
        (b"2", b"41", b"e"),
        (b"1", b"5", b"f"),
    ]
    assert numbering.redis.mget(message(1), message(2)) == [b"5", b"41"]
    assert {fields[b"request_id"] for _, fields in numbering.redis.xrange(keys.ACCEPTED)} == {b"r"}
    assert {fields[b"access_token"] for _, fields in numbering.redis.xrange(keys.ACCEPTED)} == {
        A.encode()
    }


def test_a_bulk_without_a_sequence_does_nothing(numbering: Numbering) -> None:
    numbering.redis.set(message(7), keys.UNKNOWN)
    before = content(numbering.redis)
    assert numbering.answers(bulk(9, "a", "b", key="k"), bulk(7, "a", "b")) == [MISSING, UNKNOWN]
    assert content(numbering.redis) == before


@pytest.mark.parametrize(("room", "accepted"), [(3, True), (2, False)])
def test_a_bulk_needs_room_for_all_of_it(numbering: Numbering, room: int, accepted: bool) -> None:
    answers = numbering.answers(bulk(1, "a", "b", "c", key="k"), room=room)
    assert answers == ([1] if accepted else [FULL])
    assert len(numbering.entries()) == (3 if accepted else 0)
    assert numbering.redis.exists(keys.idempotency(A, 1, "k")) == accepted


def test_a_bulk_is_repeated_under_its_key(numbering: Numbering) -> None:
    numbering.answers(post(1))
    assert numbering.answers(bulk(1, "a", "b", key="k")) == [2]
    assert numbering.answers(bulk(1, "a", "b", key="k"), bulk(1, "a", "b", key="k")) == [b"2"] * 2
    assert len(numbering.entries()) == 3


@pytest.mark.parametrize(
    "other",
    [
        bulk(1, "a", "c", key="k"),
        bulk(1, "b", "a", key="k"),
        bulk(1, "a", key="k"),
        bulk(1, "a", "b", "c", key="k"),
        bulk(1, "ab", key="k"),
        post(1, "a", key="k"),
    ],
)
def test_a_key_stands_for_all_of_a_bulk(numbering: Numbering, other: Bulk | Creation) -> None:
    numbering.answers(bulk(1, "a", "b", key="k"))
    assert numbering.answers(other) == [REUSED]


def test_a_bulk_of_one_is_another_payload_than_its_message(numbering: Numbering) -> None:
    assert numbering.answers(post(1, "a", key="k"), bulk(1, "a", key="k")) == [1, REUSED]


def test_a_refused_stream_takes_nothing_of_a_bulk(numbering: Numbering) -> None:
    numbering.redis.set(keys.ACCEPTED, "not a stream")
    before = content(numbering.redis)
    assert numbering.answers(bulk(1, "a", "b", key="k")) == [REFUSED]
    assert content(numbering.redis) == before


def test_a_bulk_costs_as_many_as_its_messages(numbering: Numbering) -> None:
    rate = Rate(1, 5)
    batch = [bulk(1, "a", "b", "c"), bulk(1, "d", "e", "f", key="k"), post(1), post(1), post(1)]
    assert numbers(numbering.run(*batch, rate=rate)[1]) == [1, LIMITED, 4, 5, LIMITED]
    assert numbering.redis.get(keys.idempotency(A, 1, "k")) is None


def test_a_bulk_above_the_burst_waits_until_everything_is_paid_off(numbering: Numbering) -> None:
    rate, seven = Rate(1000, 5), [str(i) for i in range(7)]
    _, answers = numbering.run(bulk(1, *seven), bulk(1, *seven), post(1), rate=rate)
    assert answers == [
        [1, 1000, 5, 7000, 0],
        [LIMITED, 1000, 5, 7000, 7000],
        [LIMITED, 1000, 5, 7000, 3000],
    ]
    numbering.redis.delete(LIMITER_A)
    _, answers = numbering.run(post(1), bulk(1, *seven), rate=rate)
    assert answers[1] == [LIMITED, 1000, 5, 1000, 1000]


def test_the_debt_of_the_largest_bulk_is_not_forgiven(numbering: Numbering) -> None:
    numbering.run(bulk(1, *["x"] * MAX_MESSAGES), rate=Rate(1, 5))
    (answer,) = numbering.run(post(1), rate=Rate(1, 5))[1]
    assert answer[0] == LIMITED
    assert 490_000_000 < answer[4] <= 496_000_000


def test_five_hundred_messages_are_one_step(numbering: Numbering) -> None:
    assert numbering.answers(bulk(1, *["x"] * 500), post(1)) == [1, 501]
    assert [int(number) for _, number, _ in numbering.entries()] == list(range(1, 502))
