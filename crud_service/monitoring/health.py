"""Health: that the process answers, and that what it needs does."""

import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import Lock
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import ProxyHandler, Request, build_opener

import orjson
from django.conf import settings
from django.http import HttpRequest, HttpResponse

from crud_service.api.api_view import ApiView
from crud_service.api.responses import ALIVE, json_response
from crud_service.stores import api_redis
from crud_service.stores.database import fetch_one

ELASTICSEARCH_TIMEOUT_SECONDS = 1.0
READY_SECONDS = 2.5

Dependency = dict[str, Any]

# A store is reached directly, as the client of Elasticsearch does.
_direct = build_opener(ProxyHandler({}))


class LiveView(ApiView):
    """`/health/live`: the process answers."""

    def get(self, request: HttpRequest) -> HttpResponse:
        return json_response(ALIVE)


class ReadyView(ApiView):
    """`/health/ready`: 503 when a store is away without which requests fail."""

    def get(self, request: HttpRequest) -> HttpResponse:
        dependencies = _checks.run(
            {
                "postgresql": lambda: check(lambda: fetch_one("SELECT 1")),
                "redis": lambda: check(lambda: api_redis.client().ping()),
                "elasticsearch": check_elasticsearch,
            }
        )
        status = overall(dependencies)
        body = orjson.dumps({"status": status, "dependencies": dependencies})
        return json_response(body, 503 if status == "unavailable" else 200)


def overall(dependencies: Mapping[str, Dependency]) -> str:
    """`ok`, `degraded` where search alone is affected, or `unavailable`."""
    if any(dependencies[name]["status"] != "ok" for name in ("postgresql", "redis")):
        return "unavailable"
    return "degraded" if dependencies["elasticsearch"]["status"] == "unavailable" else "ok"


class Checks:
    """Runs checks side by side, one of each kind at a time, and waits for them for so long.

    One that hangs holds a thread of its own and is waited for by the next caller too.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(3, thread_name_prefix="health")
        self._running: dict[str, Future[Dependency]] = {}
        self._lock = Lock()

    def run(self, checks: Mapping[str, Callable[[], Dependency]]) -> dict[str, Dependency]:
        """What each check found; `unavailable` for one that did not end in time."""
        with self._lock:
            for name, ask in checks.items():
                if name not in self._running or self._running[name].done():
                    self._running[name] = self._threads.submit(ask)
            running = {name: self._running[name] for name in checks}
        wait(running.values(), READY_SECONDS)
        late = {"status": "unavailable", "latency_ms": READY_SECONDS * 1000}
        return {name: it.result() if it.done() else late for name, it in running.items()}


_checks = Checks()


def check(ask: Callable[[], object]) -> Dependency:
    """A dependency's status and latency."""
    started = time.perf_counter()
    try:
        ask()
        status = "ok"
    except Exception:  # whatever goes wrong, the dependency is not there
        status = "unavailable"
    return {"status": status, "latency_ms": round((time.perf_counter() - started) * 1000, 2)}


def check_elasticsearch() -> Dependency:
    """Elasticsearch's status; search goes on in PostgreSQL without it."""
    if not settings.ELASTICSEARCH_URL:
        return {"status": "not_configured", "latency_ms": 0.0}
    request = health_request(settings.ELASTICSEARCH_URL)
    return check(lambda: _direct.open(request, timeout=ELASTICSEARCH_TIMEOUT_SECONDS).read())


def health_request(url: str) -> Request:
    """A request for Elasticsearch's health; urllib does not take credentials in a URL."""
    parts = urlsplit(url)
    credentials, _, address = parts.netloc.rpartition("@")
    asked = parts._replace(netloc=address, path=f"{parts.path.rstrip('/')}/_cluster/health")
    request = Request(asked.geturl())  # noqa: S310 - our own setting
    if credentials:
        encoded = b64encode(unquote(credentials).encode()).decode()
        request.add_header("Authorization", f"Basic {encoded}")
    return request
