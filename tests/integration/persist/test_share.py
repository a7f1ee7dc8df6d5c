"""How many shards a worker takes, by how many workers there are."""

import threading
from collections.abc import Iterator

import pytest
import redis

from contract import keys
from contract.shards import Shards
from crud_service.duties.lease import attended, persisting
from crud_service.duties.spread import Share, keep_enrolled
from tests.polling import wait_until

SHARDS = Shards(3)
DUTIES = [persisting(shard) for shard in SHARDS]


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as found:
        yield found


@pytest.fixture(autouse=True)
def no_duties() -> Iterator[None]:
    attended.clear()
    yield
    attended.clear()


def test_a_worker_alone_takes_all(client: redis.Redis) -> None:
    share = Share()
    attended.update(DUTIES[:2])
    assert not share.is_taken(DUTIES[2]), "nothing is known yet"
    share.enrol(client, SHARDS, "a")
    assert not share.is_taken(DUTIES[2])
    attended.update(DUTIES)
    assert not any(map(share.is_exceeded, DUTIES))


def test_two_workers_take_half_each_and_the_last_shard_is_given_back(client: redis.Redis) -> None:
    first, second = Share(), Share()
    attended.update(DUTIES)
    for _ in range(2):
        first.enrol(client, SHARDS, "a")
        second.enrol(client, SHARDS, "b")
    assert [first.is_exceeded(duty) for duty in DUTIES] == [False, False, True]
    attended.discard(DUTIES[2])
    assert not any(map(first.is_exceeded, DUTIES[:2]))
    assert first.is_taken(DUTIES[2])
    assert not first.is_taken(DUTIES[1]), "its own is no other"


@pytest.mark.parametrize("forgotten_in", [-1, 3_600_000], ids=["now", "clock set back"])
def test_a_worker_that_is_gone_is_not_counted(client: redis.Redis, forgotten_in: int) -> None:
    share = Share()
    enrolled = SHARDS.first.key(keys.WORKERS)
    share.enrol(client, SHARDS, "b")
    seconds, _ = client.time()
    client.zadd(enrolled, {"b": seconds * 1000 + forgotten_in})
    share.enrol(client, SHARDS, "a")
    assert client.zrange(enrolled, 0, -1) == [b"a"]
    attended.update(DUTIES[:2])
    assert not share.is_taken(DUTIES[2])


def test_a_worker_that_ends_is_not_counted_any_more(client: redis.Redis) -> None:
    enrolled = SHARDS.first.key(keys.WORKERS)
    over = threading.Event()
    thread = threading.Thread(target=keep_enrolled, args=(client, SHARDS, "ends", over, Share()))
    thread.start()
    try:
        wait_until(lambda: client.zscore(enrolled, "ends") is not None, 60)
        client.persist(enrolled)  # it is not merely forgotten
    finally:
        over.set()
        thread.join()
    assert client.zscore(enrolled, "ends") is None


def test_a_worker_that_could_not_persist_is_not_counted_for_a_while(
    client: redis.Redis,
) -> None:
    for seconds, is_counted in ((60.0, False), (0.0, True)):
        share = Share(seconds)
        share.note_failure()
        share.enrol(client, SHARDS, "a")
        assert bool(client.exists(SHARDS.first.key(keys.WORKERS))) is is_counted


def test_a_worker_that_could_not_persist_takes_the_shards_of_a_worker_that_is_gone(
    client: redis.Redis,
) -> None:
    enrolled = SHARDS.first.key(keys.WORKERS)
    share, other = Share(), Share()
    for _ in range(2):
        share.enrol(client, SHARDS, "a")
        other.enrol(client, SHARDS, "b")
    attended.update(DUTIES[:2])
    assert share.is_taken(DUTIES[2])
    share.note_failure()
    share.enrol(client, SHARDS, "a")
    assert share.is_taken(DUTIES[2]), "the other one is still there"
    client.zrem(enrolled, "b")
    share.enrol(client, SHARDS, "a")
    assert not share.is_taken(DUTIES[2])
