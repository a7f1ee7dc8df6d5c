"""numbers.lua on a real Valkey: the answer to each creation of a batch, and what it leaves."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis

from contract import keys
from contract.shards import ONLY, Shard
from numbering_service.creation import AnyCreation, Creation
from numbering_service.creations.numbers import pack_batch, script_text
from numbering_service.creations.pending import Batch
from numbering_service.rate_limits import NO_LIMIT, Rate
from tests.integration.numbering.surroundings import Valkey, Waiter
from web.fields import MAX_BODY_BYTES

A, B = "A" * 24, "B" * 24
MISSING, REUSED, FULL, REFUSED, UNKNOWN, CHAT_DELETED, BEING_DELETED = 0, -1, -2, -3, -4, -6, -7
OUT_OF_MEMORY = -8


class Numbering:
    """The script as a client sees it, with the sequences of two chats to start from."""

    def __init__(self, client: redis.Redis, *, fresh: bool = True) -> None:
        self.redis = client
        self.batches = 0
        # Of the last batch: its last entry, and the oldest in the stream.
        self.last = self.oldest = b""
        if fresh:
            client.mset({keys.chat_sequence(A): 2, message(1): 0, message(2): 40})

    def run(
        self,
        *creations: AnyCreation,
        batch: str | None = None,
        again: bool = False,
        room: int = 1000,
        rate: Rate = NO_LIMIT,
    ) -> tuple[int, list[Any]]:
        """Return whether to wake the persister, and the answers; see also `last` and `oldest`."""
        self.batches += 1
        of_shard = {ONLY: creations}
        [reply] = self.call(
            of_shard, batch or f"b{self.batches}", again=again, room=room, rate=rate
        )
        wake, self.last, self.oldest, *answers = reply
        return wake, answers

    def call(
        self,
        of_shards: Mapping[Shard, Sequence[AnyCreation]],
        batch_id: str,
        *,
        again: bool = False,
        room: int = 1000,
        rate: Rate = NO_LIMIT,
    ) -> list[list[Any]]:
        """Number the creations of several shards in one call; return the reply to each."""
        names = [shard.key(keys.LIMITS) for shard in of_shards]
        arguments = []
        for shard, creations in of_shards.items():
            batch = Batch(batch_id, shard, [Waiter(creation) for creation in creations])
            arguments.append(pack_batch(batch, names, again=again))
        script = self.redis.register_script(script_text(room, rate))
        replies: list[list[Any]] = script(keys=names, args=arguments)
        return replies

    def answers(
        self, *creations: AnyCreation, batch: str | None = None, room: int = 1000
    ) -> list[Any]:
        return self.run(*creations, batch=batch, room=room)[1]

    def writes(self) -> int:
        """Return how many changes the server has counted."""
        return int(self.redis.info("persistence")["rdb_changes_since_last_save"])

    def entries(self) -> list[tuple[bytes, ...]]:
        """Return chat number, number and body of each entry in the stream."""
        return [
            (fields[b"chat_number"], fields[b"number"], fields[b"body"])
            for _entry_id, fields in self.redis.xrange(keys.ACCEPTED)
        ]


@pytest.fixture
def numbering(redis_url: str) -> Iterator[Numbering]:
    with redis.Redis.from_url(redis_url, protocol=2) as client:
        yield Numbering(client)


def message(chat: int) -> str:
    return keys.message_sequence(A, chat)


def chat(key: str = "", token: str = A) -> Creation:
    return Creation(token, None, "", "r", key)


def post(number: int, body: str = "hi", key: str = "", token: str = A) -> Creation:
    return Creation(token, number, body, "r", key)


def test_a_mixed_batch_numbers_each_sequence_by_itself(numbering: Numbering) -> None:
    batch = [post(1, "a"), chat(), post(2, "b"), post(9), post(1, "c"), chat(token=B), chat()]
    assert numbering.answers(*batch) == [1, 3, 41, MISSING, 2, MISSING, 4]
    assert numbering.entries() == [
        (b"1", b"1", b"a"),
        (b"", b"3", b""),
        (b"2", b"41", b"b"),
        (b"1", b"2", b"c"),
        (b"", b"4", b""),
    ]
    found = numbering.redis.mget(keys.chat_sequence(A), message(1), message(2), message(9))
    assert found == [b"4", b"2", b"41", None]


def test_it_reports_the_oldest_entry_while_a_persister_is_running(numbering: Numbering) -> None:
    numbering.answers(post(1))
    first = numbering.last
    assert numbering.oldest == first, "there was nothing before it"
    numbering.answers(post(1))
    assert numbering.oldest == b""
    numbering.redis.set(keys.LEASE_PERSIST, "a worker")
    numbering.answers(post(1), post(9), post(1), batch="again")
    last, _ = numbering.redis.xrevrange(keys.ACCEPTED, count=1)[0]
    assert (numbering.last, numbering.oldest) == (last, first)
    numbering.answers(post(1), post(9), post(1), batch="again")
    assert (numbering.last, numbering.oldest) == (last, b"")
    numbering.redis.xtrim(keys.ACCEPTED, minid=last.decode(), approximate=False)
    numbering.answers(post(1))
    assert numbering.oldest == last
    numbering.redis.xtrim(keys.ACCEPTED, maxlen=0, approximate=False)
    numbering.answers(post(1), post(1))
    assert numbering.oldest == numbering.redis.xrange(keys.ACCEPTED, count=1)[0][0]


def test_a_batch_that_accepts_nothing_still_reports_persisting_progress(
    numbering: Numbering,
) -> None:
    numbering.redis.set(keys.LEASE_PERSIST, "a worker")
    numbering.answers(post(9))
    assert (numbering.last, numbering.oldest) == (b"", b"18446744073709551615-18446744073709551615")
    numbering.answers(post(1, key="k"))
    first = numbering.last
    assert numbering.answers(post(1, key="k")) == [b"1"]
    assert (numbering.last, numbering.oldest) == (b"", first)


def test_an_empty_batch_reports_progress_and_changes_nothing(numbering: Numbering) -> None:
    numbering.answers(post(1))
    first = numbering.last
    numbering.redis.set(keys.LEASE_PERSIST, "a worker")
    before = numbering.redis.dbsize()
    assert numbering.answers() == []
    assert (numbering.last, numbering.oldest) == (b"", first)
    assert numbering.redis.dbsize() == before


def test_batches_continue_from_each_other(numbering: Numbering) -> None:
    handed_out = [numbering.answers(*[post(1)] * size) for size in (1, 3, 512, 2)]
    assert [number for answers in handed_out for number in answers] == list(range(1, 519))


def test_a_new_chat_takes_messages_at_once_even_in_the_same_batch(numbering: Numbering) -> None:
    assert numbering.answers(post(3), chat(), post(3), post(3)) == [MISSING, 3, 1, 2]


def test_creating_a_chat_leaves_an_existing_sequence_alone(numbering: Numbering) -> None:
    numbering.redis.set(message(3), 17)
    assert numbering.answers(chat(), post(3)) == [3, 18]


def test_a_missing_sequence_leaves_nothing_behind(numbering: Numbering) -> None:
    assert numbering.answers(post(7, key="k"), chat(token=B)) == [MISSING, MISSING]
    assert numbering.redis.dbsize() == 3


def test_a_retried_batch_gets_the_same_answers(numbering: Numbering) -> None:
    numbering.answers(post(2, "x", "key"))
    batch = [post(1), chat(), post(9), post(2, "x", "key"), post(2, "y", "key"), post(1)]
    first = numbering.answers(*batch, batch="again")
    assert first == [1, 3, MISSING, b"41", REUSED, 2]
    before = numbering.entries()
    assert numbering.answers(*batch, batch="again") == first
    assert numbering.entries() == before


def test_a_retried_batch_sends_no_second_wake_up(numbering: Numbering) -> None:
    assert numbering.run(post(1), batch="again")[0] == 1
    numbering.redis.delete(keys.WAKE_UP_PERSIST)
    assert numbering.run(post(1), batch="again")[0] == 0


def test_a_key_is_replayed_within_a_batch_and_across(numbering: Numbering) -> None:
    assert numbering.answers(post(1, "a", "k"), post(1, "a", "k"), chat("k"), chat("k")) == [
        1, b"1", 3, b"3"
    ]  # fmt: skip
    assert numbering.answers(post(1, "a", "k"), chat("k")) == [b"1", b"3"]
    assert len(numbering.entries()) == 2


def test_a_key_with_another_payload_is_refused(numbering: Numbering) -> None:
    assert numbering.answers(post(1, "a", "k"), post(1, "b", "k")) == [1, REUSED]
    assert numbering.answers(post(1, "b", "k"), post(1, "a", "k")) == [REUSED, b"1"]


def test_a_key_belongs_to_its_collection(numbering: Numbering) -> None:
    numbering.redis.set(keys.chat_sequence(B), 0)
    batch = [post(1, "a", "k"), post(2, "a", "k"), chat("k"), chat("k", B), chat("1:k")]
    assert numbering.answers(*batch) == [1, 41, 3, 1, 4]


@pytest.mark.parametrize("key", [" ", "a b:c *?[]{}", "~" * 255, "1:" + "k"])
def test_a_key_may_be_any_printable_text(numbering: Numbering, key: str) -> None:
    assert numbering.answers(post(1, "a", key), post(1, "a", key)) == [1, b"1"]


def test_a_replay_needs_neither_room_nor_a_sequence(numbering: Numbering) -> None:
    numbering.answers(post(1, "a", "k"))
    numbering.redis.delete(message(1))
    assert numbering.answers(post(1, "a", "k"), post(1), room=1) == [b"1", FULL]


def test_a_full_stream_accepts_nothing(numbering: Numbering) -> None:
    assert numbering.answers(post(1), post(1), chat(), post(2), room=3) == [1, 2, 3, FULL]
    assert numbering.answers(chat("k"), post(1), room=3) == [FULL, FULL]
    assert numbering.answers(chat("k"), post(1), room=5) == [4, 3]


def test_a_key_of_the_wrong_type_refuses_only_its_own_creation(numbering: Numbering) -> None:
    numbering.redis.delete(message(1))
    numbering.redis.lpush(message(1), "x")
    numbering.redis.lpush(keys.idempotency(A, 2, "k"), "x")
    assert numbering.answers(post(1), post(2), post(2, "a", "k"), chat()) == [
        REFUSED, 41, REFUSED, 3
    ]  # fmt: skip


def test_a_stream_key_of_the_wrong_type_refuses_everything(numbering: Numbering) -> None:
    numbering.redis.set(keys.ACCEPTED, "no stream")
    assert numbering.answers(post(1), chat()) == [REFUSED, REFUSED]
    assert numbering.redis.get(message(1)) == b"0"


def test_out_of_memory_refuses_everything_and_changes_nothing(numbering: Numbering) -> None:
    before = numbering.redis.config_get("maxmemory")["maxmemory"]
    numbering.redis.config_set("maxmemory", 1)
    try:
        answers = numbering.answers(post(1), chat("k"), post(1))
    finally:
        numbering.redis.config_set("maxmemory", before)
    assert answers == [OUT_OF_MEMORY] * 3
    assert numbering.redis.dbsize() == 3
    assert numbering.answers(post(1), chat("k")) == [1, 3]


def test_a_replay_is_answered_out_of_memory(numbering: Numbering) -> None:
    numbering.answers(post(1, "a", "k"))
    before = numbering.redis.config_get("maxmemory")["maxmemory"]
    numbering.redis.config_set("maxmemory", 1)
    try:
        assert numbering.answers(post(1, "a", "k"), post(1)) == [b"1", OUT_OF_MEMORY]
    finally:
        numbering.redis.config_set("maxmemory", before)


@pytest.mark.parametrize("maxmemory", ["512mb", "1"])
@pytest.mark.parametrize("creations", [[chat()], [post(9)], [chat("k")], [chat(token=B)]])
def test_a_call_that_is_to_be_acknowledged_is_a_write_whatever_it_answers(
    numbering: Numbering, creations: list[Creation], maxmemory: str
) -> None:
    """Without a write of its own, WAIT would not wait for what was written before."""
    numbering.run(chat("k"))
    before = numbering.redis.config_get("maxmemory")["maxmemory"]
    numbering.redis.config_set("maxmemory", maxmemory)
    try:
        for _ in range(2):  # the second finds the stored answer
            written = numbering.writes()
            numbering.run(*creations, batch="b", again=True)
            assert numbering.writes() > written
    finally:
        numbering.redis.config_set("maxmemory", before)


def test_every_key_gets_its_time_to_live(numbering: Numbering) -> None:
    numbering.run(post(1), chat("k"), batch="b")
    for key, seconds in (
        (message(1), keys.SEQUENCE_TTL_SECONDS),
        (keys.chat_sequence(A), keys.SEQUENCE_TTL_SECONDS),
        (message(3), keys.SEQUENCE_TTL_SECONDS),
        (keys.idempotency(A, None, "k"), keys.IDEMPOTENCY_TTL_SECONDS),
        (keys.batch("b"), keys.BATCH_TTL_SECONDS),
    ):
        assert seconds - 2 <= numbering.redis.ttl(key) <= seconds, key
    assert 0 < numbering.redis.pttl(keys.WAKE_UP_PERSIST) <= 1000
    assert numbering.redis.ttl(message(2)) == -1
    assert numbering.redis.ttl(keys.ACCEPTED) == -1


def test_the_persister_is_woken_once_and_not_while_it_works(numbering: Numbering) -> None:
    assert numbering.run(post(9))[0] == 0
    assert [numbering.run(post(1))[0] for _ in range(3)] == [1, 0, 0]
    numbering.redis.delete(keys.WAKE_UP_PERSIST)
    numbering.redis.set(keys.LEASE_PERSIST, "somebody")
    assert numbering.run(post(1))[0] == 0


@pytest.mark.parametrize(
    "body",
    ["\x01\x7f", "a\r\nb\\", "é👩‍👩‍👧", "x" * MAX_BODY_BYTES, "%d%s", "'\"]]--"],
    ids=range(6),
)
def test_a_body_is_kept_verbatim(numbering: Numbering, body: str) -> None:
    assert numbering.answers(post(1, body)) == [1]
    assert numbering.entries() == [(b"1", b"1", body.encode())]


def test_high_numbers_stay_exact(numbering: Numbering) -> None:
    numbering.redis.set(message(1), 2**53 - 3)
    assert numbering.answers(post(1), post(1), batch="b") == [2**53 - 2, 2**53 - 1]
    assert numbering.answers(post(1), post(1), batch="b") == [2**53 - 2, 2**53 - 1]
    assert [entry[1] for entry in numbering.entries()] == [b"%d" % (2**53 - n) for n in (2, 1)]


def test_an_unknown_sequence_is_answered_without_a_lookup(numbering: Numbering) -> None:
    numbering.redis.set(message(3), keys.UNKNOWN)
    assert numbering.answers(post(3), chat(token=B), post(3)) == [UNKNOWN, MISSING, UNKNOWN]


def test_a_chat_that_was_unknown_takes_messages_once_it_is_created(numbering: Numbering) -> None:
    numbering.redis.set(message(3), keys.UNKNOWN)
    assert numbering.answers(post(3), chat(), post(3)) == [UNKNOWN, 3, 1]


@pytest.mark.parametrize("value", ["x", "", "-7", "inf", "-inf", "nan", 2**53 - 1, 2**63, 10**30])
def test_a_sequence_that_is_no_number_to_go_on_from_is_refused(
    numbering: Numbering, value: str | int
) -> None:
    numbering.redis.set(message(1), value)
    assert numbering.answers(post(1), post(2), post(1)) == [REFUSED, 41, REFUSED]
    assert len(numbering.entries()) == 1
    assert numbering.redis.get(message(1)) == str(value).encode()


def test_a_chat_keeps_its_number_although_the_user_may_not_delete_keys(
    numbering: Numbering,
) -> None:
    address = numbering.redis.get_connection_kwargs()
    where = {name: address[name] for name in ("host", "port", "db")}
    commands = ["+@all", "-del"]
    numbering.redis.acl_setuser("frugal", enabled=True, nopass=True, keys=["*"], commands=commands)
    try:
        with redis.Redis(**where, username="frugal", password="x", protocol=2) as user:
            frugal = Numbering(user, fresh=False)
            assert frugal.answers(chat(), post(1), chat()) == [3, 1, 4]
            assert frugal.answers(chat(), post(3)) == [5, 1]
    finally:
        numbering.redis.acl_deluser("frugal")


def test_a_retried_call_keeps_its_refusals_too(numbering: Numbering) -> None:
    """The first call may still be in transit, and must not accept what has been refused since."""
    assert numbering.run(post(9), batch="late", again=True)[1] == [MISSING]
    numbering.redis.set(message(9), 0)
    assert numbering.answers(post(9), batch="late") == [MISSING]
    assert numbering.entries() == []


def test_a_replica_answers_readonly_to_any_request(
    numbering: Numbering, redis_url: str, tmp_path: Path
) -> None:
    numbering.answers(post(1, "a", "k"), batch="done")
    with Valkey(tmp_path) as server:
        server.follow(numbering.redis)
        number = int(urlsplit(redis_url).path[1:])
        with redis.Redis(port=server.port, db=number, protocol=2) as client:
            replica = Numbering(client, fresh=False)
            for batch in ([post(1)], [post(1, "a", "k")], [post(9)], [chat("x"), post(2)]):
                with pytest.raises(redis.ReadOnlyError):
                    replica.answers(*batch)
            with pytest.raises(redis.ReadOnlyError):
                replica.answers(post(1, "a", "k"), batch="done")


@pytest.mark.parametrize("key", ["", "k"])
def test_nothing_is_created_in_what_was_deleted(numbering: Numbering, key: str) -> None:
    """Not even a repeat of what was created before is answered."""
    assert numbering.answers(post(1, key=key), chat(key)) == [1, 3]
    numbering.redis.set(message(1), keys.DELETED)
    numbering.redis.set(message(2), keys.DELETING)
    assert numbering.answers(post(1, key=key), post(2, key=key), chat("other")) == [
        CHAT_DELETED, BEING_DELETED, 4
    ]  # fmt: skip
    numbering.redis.set(keys.chat_sequence(A), keys.DELETING)
    batch = [post(1, key=key), post(2, key=key), post(3), chat(key)]
    assert numbering.answers(*batch) == [BEING_DELETED] * 4
    numbering.redis.set(keys.chat_sequence(A), keys.DELETED)
    assert numbering.answers(*batch) == [UNKNOWN] * 4
    assert len(numbering.entries()) == 3


def test_a_deleted_application_is_no_concern_of_another(numbering: Numbering) -> None:
    numbering.redis.mset({keys.chat_sequence(A): keys.DELETED, keys.chat_sequence(B): 0})
    assert numbering.answers(post(1), chat(token=B), post(1, token=B)) == [UNKNOWN, 1, 1]
