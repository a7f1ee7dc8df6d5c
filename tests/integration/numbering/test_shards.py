"""Batches of a shard: what the script does with tagged keys, and that it uses no others."""

import asyncio

import pytest

from contract import keys
from contract.shards import Shards
from numbering_service.creation import Bulk, Created, Creation
from numbering_service.rate_limits import Rate
from tests.integration.numbering.surroundings import A, Valkey, number
from web.problems import KeyReused, NotFound

SHARD = Shards(3)[2]


def message(body: str, **more: str) -> Creation:
    return Creation(A, 1, body, "r", **more)


def test_a_shard_numbers_as_a_single_one_does(valkey: Valkey) -> None:
    sequence = SHARD.key(keys.chat_sequence(A))
    valkey.client.set(sequence, 0)
    chat = Creation(A, None, "", "r")
    bulk = Bulk(tuple(message(body) for body in "xyz"), idempotency_key="bulk")

    async def scenario() -> list[object]:
        settings = {"shard": SHARD, "default_rate": Rate(1000, 1000)}
        answers = await number(valkey.url, chat, message("a", idempotency_key="k"), **settings)
        answers += await number(valkey.url, bulk, message("b"), **settings)
        answers += await number(valkey.url, message("a", idempotency_key="k"), bulk, **settings)
        answers += await number(valkey.url, message("c", idempotency_key="k"), **settings)
        return list(answers)

    *created, reused = asyncio.run(scenario())
    numbers = [(it.number, it.replayed) for it in created if isinstance(it, Created)]
    assert numbers == [(1, False), (1, False), (2, False), (5, False), (1, True), (2, True)]
    assert isinstance(reused, KeyReused)
    stored = [fields[b"body"] for _, fields in valkey.client.xrange(SHARD.key(keys.ACCEPTED))]
    assert stored == [b"", b"a", b"x", b"y", b"z", b"b"]


@pytest.fixture
def names(valkey: Valkey) -> set[bytes]:
    """All keys after creations with an idempotency key and a limit."""
    valkey.client.set(SHARD.key(keys.chat_sequence(A)), 0)
    valkey.client.hset(SHARD.key(keys.LIMITS), A, "5 5")
    asked = (Creation(A, None, "", "r"), message("a", idempotency_key="k"))
    asyncio.run(number(valkey.url, *asked, shard=SHARD))
    return set(valkey.client.scan_iter())


def test_every_key_has_the_tag(names: set[bytes]) -> None:
    assert len(names) >= 7
    assert [name for name in names if SHARD.tag.encode() not in name] == []


def test_a_limit_of_the_shard_applies(valkey: Valkey, names: set[bytes]) -> None:
    assert SHARD.key(keys.LIMITER + A).encode() in names


def test_a_token_that_is_not_valid_any_more_is_refused(valkey: Valkey) -> None:
    valkey.client.set(SHARD.key(keys.chat_sequence(A)), keys.DELETED)
    valkey.client.set(SHARD.key(keys.message_sequence(A, 1)), 5)
    [answer] = asyncio.run(number(valkey.url, message("a"), shard=SHARD))
    assert isinstance(answer, NotFound)
    assert valkey.client.get(SHARD.key(keys.message_sequence(A, 1))) == b"5"
