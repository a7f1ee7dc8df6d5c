"""numbers.lua on a real Valkey: one call with the batches of several shards."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis

from contract import keys
from contract.shards import Shard, Shards
from numbering_service.creation import Bulk, Creation
from tests.contract.test_numbers_script import (
    FULL,
    MISSING,
    OUT_OF_MEMORY,
    REFUSED,
    Numbering,
    chat,
    post,
)
from tests.integration.numbering.surroundings import Valkey

SHARDS = Shards(3)
FIRST, SECOND, THIRD = SHARDS
TOKENS = {shard: str(shard.number) * 24 for shard in SHARDS}
BAD_REPLY, LIMITED = -5, -10


@pytest.fixture
def numbering(redis_url: str) -> Iterator[Numbering]:
    with redis.Redis.from_url(redis_url, protocol=2) as client:
        seed(client)
        yield Numbering(client, fresh=False)


def seed(client: redis.Redis) -> None:
    for shard, token in TOKENS.items():
        client.set(shard.key(keys.chat_sequence(token)), 10 * shard.number)
        client.set(shard.key(keys.message_sequence(token, 1)), 100 * shard.number)


def message(shard: Shard, body: str = "hi", key: str = "") -> Creation:
    return post(1, body, key, TOKENS[shard])


def answers(replies: list[list[Any]]) -> list[list[Any]]:
    return [reply[3:] for reply in replies]


def bodies(numbering: Numbering, shard: Shard) -> list[bytes]:
    return [fields[b"body"] for _, fields in numbering.redis.xrange(shard.key(keys.ACCEPTED))]


def test_each_shard_has_its_own_numbers_stream_and_reply(numbering: Numbering) -> None:
    replies = numbering.call(
        {
            SECOND: [message(SECOND, "a"), chat(token=TOKENS[SECOND]), message(SECOND, "b")],
            FIRST: [],
            THIRD: [message(THIRD, "c"), post(9, token=TOKENS[THIRD])],
        },
        "b",
    )
    assert answers(replies) == [[101, 11, 102], [], [201, MISSING]]
    assert [bodies(numbering, shard) for shard in SHARDS] == [[], [b"a", b"", b"b"], [b"c"]]
    for shard, (wake, last, oldest, *_) in zip((SECOND, THIRD), replies[::2], strict=True):
        entries = numbering.redis.xrange(shard.key(keys.ACCEPTED))
        assert (wake, last, oldest) == (1, entries[-1][0], entries[0][0])
        assert numbering.redis.exists(shard.key(keys.WAKE_UP_PERSIST))
    assert replies[1][:2] == [0, b""]
    assert not numbering.redis.exists(FIRST.key(keys.WAKE_UP_PERSIST))


def test_it_reports_which_persister_is_running(numbering: Numbering) -> None:
    batches = {shard: [message(shard)] for shard in SHARDS}
    numbering.call(batches, "a")
    numbering.redis.set(SECOND.key(keys.LEASE_PERSIST), "a worker")
    replies = numbering.call(batches, "b")
    [(first, _), _] = numbering.redis.xrange(SECOND.key(keys.ACCEPTED))
    assert [oldest for _, _, oldest, *_ in replies] == [b"", first, b""]


def test_a_full_stream_refuses_creations_of_its_shard_only(numbering: Numbering) -> None:
    numbering.call({SECOND: [message(SECOND), message(SECOND)]}, "a")
    batches = {shard: [message(shard), message(shard)] for shard in SHARDS}
    assert answers(numbering.call(batches, "b", room=3)) == [[1, 2], [103, FULL], [201, 202]]


def test_a_stream_of_the_wrong_type_refuses_creations_of_its_shard_only(
    numbering: Numbering,
) -> None:
    numbering.redis.set(SECOND.key(keys.ACCEPTED), "no stream")
    numbering.redis.set(SECOND.key(keys.LEASE_PERSIST), "a worker")
    batches = {shard: [message(shard)] for shard in SHARDS}
    assert answers(numbering.call(batches, "b")) == [[1], [REFUSED], [201]]


def test_a_retried_call_gets_the_same_answers(numbering: Numbering) -> None:
    batches = {shard: [message(shard), post(9, token=TOKENS[shard])] for shard in SHARDS}
    first = answers(numbering.call(batches, "again"))
    replies = numbering.call(batches, "again", again=True)
    assert answers(replies) == first == [[n, MISSING] for n in (1, 101, 201)]
    assert [wake for wake, *_ in replies] == [0, 0, 0]
    assert [len(bodies(numbering, shard)) for shard in SHARDS] == [1, 1, 1]


def test_a_batch_is_known_alone_and_together_with_others(numbering: Numbering) -> None:
    """As when calls are split because the server has become one of a cluster."""
    both = {FIRST: [message(FIRST)] * 2, THIRD: [message(THIRD)]}
    numbering.call(both, "a")
    assert answers(numbering.call({THIRD: [message(THIRD)]}, "a", again=True)) == [[201]]
    numbering.call({FIRST: [message(FIRST)] * 2}, "b")
    assert answers(numbering.call(both, "b", again=True)) == [[3, 4], [202]]
    assert [len(bodies(numbering, shard)) for shard in (FIRST, THIRD)] == [4, 2]


@pytest.mark.parametrize("again", [False, True])
def test_out_of_memory_refuses_creations_of_all_shards(numbering: Numbering, again: bool) -> None:
    """Also behind a shard of which nothing can be accepted in any case."""
    limit = numbering.redis.config_get("maxmemory")["maxmemory"]
    batches = {FIRST: [post(9, token=TOKENS[FIRST])], SECOND: [message(SECOND)] * 2}
    numbering.redis.config_set("maxmemory", 1)
    try:
        replies = numbering.call(batches, "b", again=again)
    finally:
        numbering.redis.config_set("maxmemory", limit)
    assert answers(replies) == [[MISSING], [OUT_OF_MEMORY, OUT_OF_MEMORY]]
    assert numbering.redis.exists(SECOND.key(keys.batch("b"))) == again


def test_a_replica_answers_readonly_whatever_the_shards_have(
    numbering: Numbering, redis_url: str, tmp_path: Path
) -> None:
    batches = {FIRST: [post(9, token=TOKENS[FIRST])], SECOND: [message(SECOND)]}
    numbering.call(batches, "done")
    with Valkey(tmp_path) as server:
        server.follow(numbering.redis)
        database = int(urlsplit(redis_url).path[1:])
        with redis.Redis(port=server.port, db=database, protocol=2) as client:
            replica = Numbering(client, fresh=False)
            for batch_id in ("done", "new"):
                with pytest.raises(redis.ReadOnlyError):
                    replica.call(batches, batch_id, again=True)


def test_bulks_attributes_and_keys_are_those_of_their_shard(numbering: Numbering) -> None:
    named = replace(message(FIRST, "named"), attributes='{"sender":"Ann"}')
    bulk = Bulk((message(SECOND, "x"), message(SECOND, "y")), idempotency_key="k")
    early = replace(message(SECOND, "early"), attributes='{"reply_to":104}', reply_to=104)
    reply = replace(message(SECOND, "reply"), attributes='{"reply_to":102}', reply_to=102)
    batches = {
        FIRST: [message(FIRST, key="k"), named],
        SECOND: [bulk, early, reply],
        THIRD: [message(THIRD, key="k"), message(THIRD, key="k")],
    }
    assert answers(numbering.call(batches, "b")) == [[1, 2], [101, BAD_REPLY, 103], [201, b"201"]]
    with_attributes = [
        fields[b"body"]
        for shard in SHARDS
        for _, fields in numbering.redis.xrange(shard.key(keys.ACCEPTED))
        if fields and b"attributes" in fields
    ]
    assert with_attributes == [b"named", b"reply"]


def test_a_limit_applies_in_its_own_shard(numbering: Numbering) -> None:
    numbering.redis.hset(SECOND.key(keys.LIMITS), TOKENS[SECOND], "1 1")
    batches = {shard: [message(shard), message(shard)] for shard in SHARDS}
    [first, [allowed, refused], third] = answers(numbering.call(batches, "b"))
    assert (first, third) == ([1, 2], [201, 202])
    assert (allowed[0], refused[0]) == (101, LIMITED)
    assert numbering.redis.exists(SECOND.key(keys.LIMITER + TOKENS[SECOND]))
