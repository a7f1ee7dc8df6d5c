"""The service's metrics, summed over all of its processes."""

import asyncio
import os
from collections.abc import Sequence

from prometheus_client import (
    CollectorRegistry,
    Counter,
    generate_latest,
    multiprocess,
)
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from redis.asyncio import Redis
from redis.exceptions import RedisError

from contract import keys
from contract.entries import Backlog, age_seconds, total
from contract.shards import Shard, Shards
from web.batched_request_log import BatchedHistogram

REGISTRY = CollectorRegistry()

REQUESTS = Counter(
    "chat_http_requests", "Requests answered.", ("method", "route", "status"), registry=REGISTRY
)
REQUEST_SECONDS = BatchedHistogram(
    "chat_http_request_duration_seconds",
    "Time from a request's headers to its response.",
    ("route",),
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
    registry=REGISTRY,
)
BATCH_SIZE = BatchedHistogram(
    "chat_numbering_batch_size",
    "Creations numbered by one call of the script.",
    (),
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
    registry=REGISTRY,
)
CREATED = Counter("chat_created", "Numbers handed out.", registry=REGISTRY)
REPLAYED = Counter("chat_replayed", "Answers repeated for an Idempotency-Key.", registry=REGISTRY)
RATE_LIMITED = Counter(
    "chat_rate_limited", "Creations refused by an application's rate limit.", registry=REGISTRY
)
SEEDED = Counter("chat_sequences_seeded", "Missing sequences seeded.", registry=REGISTRY)
BATCH_RETRIES = Counter(
    "chat_numbering_batch_retries", "Calls of the script that were retried.", registry=REGISTRY
)

LOG_LINES_DROPPED = Counter(
    "chat_log_lines_dropped", "Log lines that could not be written.", registry=REGISTRY
)


class Batches:
    """Batches that were numbered since they were last counted, which `AccessLog.flush` does.

    Counting one at a time takes a tenth of a creation that has a call of the script to itself.
    """

    def __init__(self) -> None:
        self.sizes: list[float] = []
        self.created = 0

    def count(self) -> None:
        """Add them to the metrics."""
        BATCH_SIZE.add((), self.sizes)
        CREATED.inc(self.created)
        self.sizes, self.created = [], 0


BATCHES = Batches()


class Found(Collector):
    """Values that were just found.

    The library's own gauges would be shared and exported for each process, and stay when it dies.
    """

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Sequence[Metric]:
        return self._metrics


async def render(redis: Sequence[Redis], depth: int) -> bytes:
    """Render all metrics in the text format of Prometheus, with the current backlog.

    `redis` are the clients of all shards, in order.
    """
    gauges = [
        GaugeMetricFamily(
            "chat_numbering_waiting", "Creations waiting for a batch, or held back.", depth
        )
    ]
    try:
        shards = zip(Shards(len(redis)), redis, strict=True)
        found = total(await asyncio.gather(*(backlog(shard, client) for shard, client in shards)))
    except (RedisError, OSError):
        pass  # An absent gauge is how Prometheus says "not known".
    else:
        gauges += [
            GaugeMetricFamily(
                "chat_backlog_entries", "Entries accepted but not yet stored.", found.entries
            ),
            GaugeMetricFamily(
                "chat_backlog_oldest_age_seconds",
                "Age of the oldest such entry.",
                found.oldest_age_seconds,
            ),
        ]
    registry = CollectorRegistry()
    registry.register(Found(gauges))
    return generate_latest(own_registry()) + generate_latest(registry)


async def backlog(shard: Shard, redis: Redis) -> Backlog:
    stream = shard.key(keys.ACCEPTED)
    length = await redis.xlen(stream)
    oldest = await redis.xrange(stream, count=1)
    if not oldest:
        return Backlog(length, 0.0)
    seconds, microseconds = await redis.time()
    return Backlog(length, age_seconds(oldest[0][0], seconds + microseconds / 1e6))


def own_registry() -> CollectorRegistry:
    """This process's metrics, or those of all processes of the service together."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry
