"""Metrics of HTTP requests, count and duration by route, and of the log."""

from prometheus_client import CollectorRegistry, Counter

from crud_service.stores import replica
from web.batched_request_log import BatchedHistogram

REGISTRY = CollectorRegistry()
REGISTRY.register(replica.READS)

REQUESTS = Counter(
    "chat_http_requests",
    "Requests answered.",
    ("method", "route", "status"),
    registry=REGISTRY,
)
DURATION = BatchedHistogram(
    "chat_http_request_duration_seconds",
    "Time from a request's start to its answer (to its first byte where it is streamed).",
    ("method", "route"),
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
    registry=REGISTRY,
)
LOG_LINES_DROPPED = Counter(
    "chat_log_lines_dropped", "Log lines that could not be written.", registry=REGISTRY
)
