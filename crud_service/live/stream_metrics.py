"""Metrics of streams."""

from prometheus_client import Counter, Gauge, Histogram

from crud_service.monitoring.request_metrics import REGISTRY

OPEN = Gauge("chat_live_streams_open", "Open streams and lists that wait.", registry=REGISTRY)
EVENTS = Counter("chat_live_events", "Events sent to streams.", registry=REGISTRY)
LAG = Histogram(
    "chat_live_lag_seconds",
    "Time from a commit to the writing of its events to a chat's followers.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
    registry=REGISTRY,
)
