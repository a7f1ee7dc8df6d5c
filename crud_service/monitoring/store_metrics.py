"""Metrics read from the stores: the backlog, the index lag, the workers' counters.

If a store is unavailable, its metrics are absent, which is Prometheus's "unknown".
"""

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import redis
from django.conf import settings
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from contract.entries import Backlog, age_seconds, total
from contract.keys import ACCEPTED, WORKER_METRICS
from contract.replicas import ROLE, count_replicas
from contract.shards import Shard
from crud_service.persist.worker_metrics import COUNTERS, HISTOGRAMS, cumulate
from crud_service.search.feed.refold import COUNT_OUTDATED
from crud_service.stores.database import fetch_one
from crud_service.stores.redis_clients import api_redis, shards
from crud_service.stores.replica import replica
from web.problems import StoreUnavailable

# Upper limit of a count: a gauge that means "at least" is better than a slow page.
COUNTED_AT_MOST = 100_000


def _count(table: str) -> str:
    return f"(SELECT count(*) FROM (SELECT FROM {table} LIMIT {COUNTED_AT_MOST}) counted)"


def _age(table: str) -> str:
    oldest = f"(SELECT min(changed_at) FROM {table})"  # the first entry of an index
    return f"coalesce(extract(epoch FROM clock_timestamp() - {oldest}), 0)::float8"


GAUGES = {
    "chat_conflicts": ("Entries whose number was taken by another one.", _count("conflicts")),
    "chat_set_aside_entries": (
        "Entries that could not be stored and await an operator.",
        _count("set_aside_entries"),
    ),
    "chat_deletions_pending": (
        "Deleted chats and applications that are still being erased.",
        _count("deletions"),
    ),
    "chat_index_outbox_entries": ("Changes not yet folded for search.", _count("search_outbox")),
    "chat_index_queue_entries": (
        "Changes not yet sent to Elasticsearch.",
        _count("search_queue"),
    ),
    "chat_index_texts_outdated": (
        "Texts still to be folded by the rules of this version.",
        COUNT_OUTDATED % COUNTED_AT_MOST,
    ),
    "chat_index_failures": ("Messages that could not be indexed.", _count("search_failures")),
    "chat_index_lag_seconds": (
        "Age of the oldest change that is not searchable everywhere yet.",
        f"greatest({_age('search_outbox')}, {_age('search_queue')}, 0)",
    ),
}
POSTGRESQL = "SELECT " + ", ".join(sql for _, sql in GAUGES.values())


class StoreMetrics(Collector):
    def collect(self) -> Iterator[Metric]:
        try:
            yield from postgresql_metrics()
        except StoreUnavailable:
            yield up("postgresql", 0)
        if settings.DATABASE_READ_URL:
            yield GaugeMetricFamily(
                "chat_replica_up", "Whether reads go to the replica.", replica().is_usable
            )
        try:
            yield from list(redis_metrics())  # all or none: the last of them may fail as well
        except (redis.RedisError, OSError):
            yield up("redis", 0)

    def describe(self) -> list[Metric]:
        """Return nothing, so that registration does not query the stores."""
        return []


def up(store: str, value: float) -> Metric:
    return GaugeMetricFamily(f"chat_{store}_up", f"Whether {store} answers.", value)


class Gauge(NamedTuple):
    name: str
    help: str
    value: float


def read_gauges() -> list[Gauge]:
    """Return the gauges that PostgreSQL knows. Raises StoreUnavailable if it is unavailable."""
    values = fetch_one(POSTGRESQL) or ()
    return [
        Gauge(name, text, value)
        for (name, (text, _)), value in zip(GAUGES.items(), values, strict=True)
    ]


def postgresql_metrics() -> Iterator[Metric]:
    gauges = read_gauges()
    yield up("postgresql", 1)
    for gauge in gauges:
        yield GaugeMetricFamily(*gauge)


def redis_metrics() -> Iterator[Metric]:
    found = backlog()
    yield up("redis", 1)
    for name, text, value in (
        ("entries", "Entries accepted but not yet stored.", found.entries),
        ("oldest_age_seconds", "Age of the oldest such entry.", found.oldest_age_seconds),
    ):
        yield GaugeMetricFamily(f"chat_backlog_{name}", text, value)
    yield from replica_metrics([api_redis(shard.number) for shard in shards()])
    yield from worker_metrics()


def replica_metrics(connections: Sequence[redis.Redis]) -> Iterator[Metric]:
    connected = min(replicas_of(connection) for connection in connections)
    yield GaugeMetricFamily(
        "chat_redis_replicas",
        "Replicas of Redis that are connected, of the shard that has the fewest.",
        connected,
    )
    yield GaugeMetricFamily(
        "chat_redis_replicas_wanted",
        "Replicas that must acknowledge, by REPLICAS_TO_ACKNOWLEDGE.",
        settings.REPLICAS_TO_ACKNOWLEDGE,
    )


def replicas_of(connection: redis.Redis) -> int:
    role: Any = connection.execute_command(*ROLE)  # type: ignore[no-untyped-call] # untyped in redis-py
    return count_replicas(role)


def backlog() -> Backlog:
    """Return how many accepted entries wait to be stored, and the age of the oldest in seconds."""
    return total(backlog_of(shard) for shard in shards())


def backlog_of(shard: Shard) -> Backlog:
    connection, stream = api_redis(shard.number), shard.key(ACCEPTED)
    length = int(connection.xlen(stream))
    oldest = connection.xrange(stream, count=1)
    return Backlog(length, age_seconds(oldest[0][0], time.time()) if oldest else 0.0)


def worker_metrics() -> Iterator[Metric]:
    """Yield what the workers have counted so far (see `persist.worker_metrics`)."""
    fields: defaultdict[str, float] = defaultdict(float)
    for shard in shards():
        raw: Any = api_redis(shard.number).hgetall(shard.key(WORKER_METRICS))
        for name, value in raw.items():
            fields[name.decode()] += float(value)
    for name, text in COUNTERS.items():
        yield CounterMetricFamily(f"chat_{name}", text, fields.get(name, 0))
    for name, (text, bounds) in HISTOGRAMS.items():
        total = fields.get(f"{name}:sum", 0)
        yield HistogramMetricFamily(f"chat_{name}", text, cumulate(fields, name, bounds), total)
