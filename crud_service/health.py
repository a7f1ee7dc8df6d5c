"""Health: that the process answers, and that what it needs does."""

import time
from collections.abc import Callable
from typing import Any
from urllib.request import urlopen

import orjson
from django.conf import settings
from django.http import HttpRequest, HttpResponse

from crud_service import redis_client
from crud_service.chat.api_view import ApiView
from crud_service.database import fetch_one
from crud_service.responses import ALIVE, json_response

ELASTICSEARCH_TIMEOUT_SECONDS = 1.0


class LiveView(ApiView):
    """`/health/live`: the process answers."""

    def get(self, request: HttpRequest) -> HttpResponse:
        return json_response(ALIVE)


class ReadyView(ApiView):
    """`/health/ready`: 503 when a store is away without which requests fail."""

    def get(self, request: HttpRequest) -> HttpResponse:
        dependencies = {
            "postgresql": check(lambda: fetch_one("SELECT 1")),
            "redis": check(lambda: redis_client.client().ping()),
            "elasticsearch": check_elasticsearch(),
        }
        status = overall(dependencies)
        body = orjson.dumps({"status": status, "dependencies": dependencies})
        return json_response(body, 503 if status == "unavailable" else 200)


def overall(dependencies: dict[str, dict[str, Any]]) -> str:
    """`ok`, `degraded` where search alone is affected, or `unavailable`."""
    if any(dependencies[name]["status"] != "ok" for name in ("postgresql", "redis")):
        return "unavailable"
    return "degraded" if dependencies["elasticsearch"]["status"] == "unavailable" else "ok"


def check(ask: Callable[[], object]) -> dict[str, Any]:
    """A dependency's status and latency."""
    started = time.perf_counter()
    try:
        ask()
        status = "ok"
    except Exception:  # whatever goes wrong, the dependency is not there
        status = "unavailable"
    return {"status": status, "latency_ms": round((time.perf_counter() - started) * 1000, 2)}


def check_elasticsearch() -> dict[str, Any]:
    """Elasticsearch's status; search goes on in PostgreSQL without it."""
    if not settings.ELASTICSEARCH_URL:
        return {"status": "not_configured", "latency_ms": 0.0}
    url = f"{settings.ELASTICSEARCH_URL.rstrip('/')}/_cluster/health"
    return check(lambda: urlopen(url, timeout=ELASTICSEARCH_TIMEOUT_SECONDS).read())  # noqa: S310 - our own setting
