"""Shards: both services find the same one, and a cluster has all keys of one in one slot."""

from collections import Counter

import pytest
from redis.crc import key_slot

from contract import keys
from contract.shards import MAX_SHARDS, ONLY, SLOTS, Shards, slot_of
from numbering_service.creation import Bulk, Creation
from numbering_service.creations.numbers import NumbersScript
from numbering_service.creations.pending import Batch
from numbering_service.rate_limits import NO_LIMIT
from tests.integration.numbering.surroundings import Waiter

TOKENS = [f"{number:024d}" for number in range(3000)]


def test_a_single_shard_names_keys_as_they_were_always_named() -> None:
    assert list(Shards(1)) == [ONLY]
    assert Shards(1).of(TOKENS[0]).key(keys.ACCEPTED) == "accepted"


@pytest.mark.parametrize("size", [2, 3, 7, MAX_SHARDS])
def test_the_slots_of_shards_are_spread_evenly(size: int) -> None:
    shards = Shards(size)
    assert [shard.slot * size // SLOTS for shard in shards] == list(range(size))
    for shard in shards:
        sequence = shard.key(keys.message_sequence(TOKENS[0], 7))
        names = (shard.key(keys.ACCEPTED), sequence, keys.seed_lock(sequence))
        assert {key_slot(name.encode()) for name in names} == {shard.slot}


def test_slots_are_those_of_the_specification() -> None:
    assert slot_of("123456789") == 0x31C3


def test_applications_are_spread_evenly() -> None:
    shards = Shards(3)
    counts = Counter(shards.of(token).number for token in TOKENS)
    assert len(counts) == 3
    assert all(900 < count < 1100 for count in counts.values())


def test_no_two_numbers_of_shards_share_a_name() -> None:
    tags = [shard.tag for size in range(1, 13) for shard in Shards(size)]
    assert len(set(tags)) == len(tags)


@pytest.mark.parametrize(
    "creation",
    [
        Creation(TOKENS[1], None, "", "r"),
        Creation(TOKENS[1], 7, "body", "r", idempotency_key="a {b} c"),
        Bulk(tuple(Creation(TOKENS[1], 7, body, "r") for body in "abc")),
    ],
    ids=["chat", "message", "bulk"],
)
def test_all_keys_of_a_call_are_in_one_slot(creation: Creation | Bulk) -> None:
    shard = Shards(3)[1]
    batch = Batch("id", shard, [Waiter(creation)])
    script = NumbersScript(max_backlog=1, default_rate=NO_LIMIT)
    words = script.pack([batch], again=False).split(b"\r\n")[2::2]
    names = words[3 : 3 + int(words[2])]
    assert len(names) == 4 + bool(creation.idempotency_key)
    assert {key_slot(name) for name in names} == {shard.slot}
