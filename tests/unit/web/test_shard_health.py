"""Redis as one dependency of readiness, by the checks of its shards."""

from web.shard_health import of_all_shards

FINE, SLOW = {"status": "ok", "latency_ms": 0.2}, {"status": "ok", "latency_ms": 7.0}
LOST = {"status": "unavailable", "reason": "0 of 1 replicas are connected"}


def test_the_slowest_shard_stands_for_all_that_answer() -> None:
    assert of_all_shards([FINE, SLOW, FINE]) == SLOW


def test_a_shard_that_is_unavailable_is_named_and_leaves_the_others() -> None:
    assert of_all_shards([FINE, LOST, SLOW]) == {
        "status": "degraded",
        "reason": LOST["reason"],
        "unavailable_shards": [1],
    }


def test_redis_is_unavailable_once_all_shards_are() -> None:
    assert of_all_shards([LOST]) == LOST
    assert of_all_shards([LOST, LOST]) == LOST
