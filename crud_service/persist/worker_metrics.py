"""The worker's metrics: counted in a Redis hash, served by crud_service's /metrics.

The worker has short-lived children and no port of its own; a hash sums up all of them
and outlives them. Each shard has a hash of its own, and the metrics are their sums. A field's name
is the metric's name; for a bucket of a histogram, a colon and its upper bound follow.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from redis import Redis, RedisError

from contract.changed_chats import encode
from contract.keys import ACCEPTED, CHANGED_CHATS, WORKER_METRICS
from contract.shards import ONLY, Shard
from crud_service.persist.accepted import Batch, after
from crud_service.persist.batch_log import outcome
from crud_service.persist.store import Stored, chat_key, created_ms
from crud_service.search.index.doorbell import ring
from crud_service.stores.redis_clients import hint_redis, shards

LAG_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
BATCH_ENTRIES = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000)

COUNTERS = {
    "persist_batches": "Batches stored.",
    "persist_messages": "Messages stored.",
    "persist_chats": "Chats stored.",
    "persist_replays": "Entries that were already stored.",
    "persist_dropped": "Entries of chats and applications that were deleted.",
    "persist_conflicts": "Entries whose number was taken by another creation.",
    "persist_set_aside": "Entries that can never be stored.",
    "persist_busy_ms": "Milliseconds spent storing batches.",
    "worker_log_lines_dropped": "Log lines of the worker that could not be written.",
    "erase_messages": "Messages erased with their chat or their application.",
    "persist_outages": "Times that a store was unavailable while there was something to store.",
}


class Histogram(NamedTuple):
    help: str
    bounds: Sequence[float]


HISTOGRAMS = {
    "persist_lag_seconds": Histogram("Seconds from the answer to the commit.", LAG_SECONDS),
    "persist_batch_entries": Histogram("Entries in a batch.", BATCH_ENTRIES),
}


def remove_and_count(
    redis: Redis,
    batch: Batch,
    stored: Stored,
    seconds: float,
    now_ms: float,
    shard: Shard = ONLY,
) -> None:
    """Remove a stored batch from the stream, announce it and count, in one round trip.

    Args:
        redis: where the batch was read.
        batch: what was read.
        stored: what became of it.
        seconds: how long storing it took.
        now_ms: the time, in milliseconds since 1970.
        shard: whose stream it was read from.

    Raises:
        RedisError: the batch was not removed.
    """
    pipeline = redis.pipeline(transaction=False)
    pipeline.xtrim(shard.key(ACCEPTED), minid=after(batch.last_id), approximate=False)
    # The doorbell may be on another server than the stream.
    is_near = shard == shards().first
    if stored.messages and is_near:
        ring(pipeline, batch.entries[0].request_id)
    for message in encode(now_ms, {chat_key(entry) for entry in batch.entries}):
        pipeline.publish(CHANGED_CHATS, message)
    for name, amount in count(batch, stored, seconds, now_ms).items():
        pipeline.hincrbyfloat(shard.key(WORKER_METRICS), name, amount)
    removed, *_others = pipeline.execute(raise_on_error=False)
    # When out of memory, Redis refuses the other commands. That must not fail the trim, which
    # frees memory.
    if isinstance(removed, Exception):
        raise removed
    if stored.messages and not is_near:
        with suppress(RedisError):
            ring(hint_redis(), batch.entries[0].request_id)


def count_outage(redis: Redis, shard: Shard) -> None:
    """Count an outage of a store, if Redis can be reached."""
    with suppress(RedisError):
        redis.hincrby(shard.key(WORKER_METRICS), "persist_outages", 1)


def count(batch: Batch, stored: Stored, seconds: float, now_ms: float) -> dict[str, float]:
    """Return the increments of the hash's fields; unchanged fields are left out."""
    amounts: dict[str, float] = {
        "persist_batches": 1,
        **{f"persist_{name}": number for name, number in outcome(batch, stored).items()},
        "persist_busy_ms": round(seconds * 1000, 3),
    }
    lags = [max(0.0, now_ms - created_ms(entry)) / 1000 for entry in reversed(batch.entries)]
    amounts |= histogram_amounts("persist_lag_seconds", LAG_SECONDS, lags)
    amounts |= histogram_amounts("persist_batch_entries", BATCH_ENTRIES, [len(batch)])
    return {name: amount for name, amount in amounts.items() if amount}


def histogram_amounts(
    name: str, bounds: Sequence[float], ascending: Sequence[float]
) -> dict[str, float]:
    """Return a histogram's increments for ascending values: one per bucket, and the sum."""
    amounts = {f"{name}:sum": round(sum(ascending), 6)}
    below = 0
    for bound in (*bounds, float("inf")):
        up_to = bisect_right(ascending, bound)
        amounts[f"{name}:{label(bound)}"] = up_to - below
        below = up_to
    return amounts


def label(bound: float) -> str:
    return "+Inf" if bound == float("inf") else f"{bound:g}"


def cumulate(
    fields: Mapping[str, float], name: str, bounds: Sequence[float]
) -> list[tuple[str, float]]:
    """Return the buckets of a histogram as Prometheus expects them: each includes those below.

    Args:
        fields: counts by `<name>:<bound>`, those of each bucket alone.
        name: the histogram.
        bounds: upper bounds, ascending; infinity follows.

    Returns:
        Labels of bounds and cumulated counts.
    """
    total = 0.0
    buckets = []
    for bound in (*bounds, float("inf")):
        total += fields.get(f"{name}:{label(bound)}", 0)
        buckets.append((label(bound), total))
    return buckets
