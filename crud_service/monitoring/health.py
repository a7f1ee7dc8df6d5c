"""Health checks: liveness of the process, readiness of its stores."""

import time
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus

from django.conf import settings
from rest_framework.request import Request as ApiRequest
from rest_framework.response import Response

from contract.keys import ACCEPTED
from contract.replicas import PROBE
from contract.shards import Shard
from crud_service.api.api_view import ApiView
from crud_service.monitoring.shared_checks import Checks, Dependency
from crud_service.search.index.elasticsearch_index import client
from crud_service.stores.database import fetch_one
from crud_service.stores.redis_clients import api_redis, shards
from crud_service.stores.replica import replica
from web.shard_health import of_all_shards

ELASTICSEARCH_TIMEOUT_SECONDS = 1.0

# Reads nothing, and fails where `migrate` has not created the tables.
TABLES = "SELECT FROM applications LIMIT 0"
# The answer to a liveness probe.
ALIVE = b'{"status":"ok"}'


class LiveView(ApiView):
    """`/health/live`: the process answers."""

    def get(self, request: ApiRequest) -> Response:
        return Response(ALIVE)


class ReadyView(ApiView):
    """`/health/ready`: 503 if PostgreSQL or Redis, which requests need, is unavailable.

    PostgreSQL counts as unavailable as long as `migrate` has not created the tables.
    With several shards, Redis is unavailable if all of them are.
    """

    def get(self, request: ApiRequest) -> Response:
        found = _checks.run(
            {
                "postgresql": lambda: check(lambda: fetch_one(TABLES)),
                "elasticsearch": check_elasticsearch,
                **{shard.tag: partial(check, partial(ask_redis, shard)) for shard in shards()},
            }
        )
        dependencies = {
            "postgresql": found["postgresql"],
            "redis": of_all_shards([found[shard.tag] for shard in shards()]),
            "elasticsearch": found["elasticsearch"],
        }
        if settings.DATABASE_READ_URL:
            dependencies["replica"] = check(ask_replica)
        status = overall(dependencies)
        body = {"status": status, "dependencies": dependencies}
        return Response(body, 503 if status == "unavailable" else 200)


def overall(dependencies: Mapping[str, Dependency]) -> str:
    """Return `ok`, `degraded` if most requests are answered nevertheless, or `unavailable`."""
    if any(dependencies[name]["status"] == "unavailable" for name in ("postgresql", "redis")):
        return "unavailable"
    states = {dependency["status"] for dependency in dependencies.values()}
    return "degraded" if states & {"degraded", "unavailable"} else "ok"


_checks = Checks()


def check(ask: Callable[[], object]) -> Dependency:
    started = time.perf_counter()
    try:
        ask()
        status = "ok"
    except Exception:  # on any error, the dependency counts as unavailable
        status = "unavailable"
    return {"status": status, "latency_ms": round((time.perf_counter() - started) * 1000, 2)}


def ask_redis(shard: Shard) -> None:
    """Raise an error unless a shard's Redis takes writes, and can acknowledge them if it has to."""
    redis = api_redis(shard.number)
    # A write that changes nothing: a replica, or a server without the shard, would answer a ping.
    redis.persist(shard.key(ACCEPTED))
    if settings.REPLICAS_TO_ACKNOWLEDGE:
        redis.execute_command(*PROBE)  # type: ignore[no-untyped-call] # untyped in redis-py


def ask_replica() -> None:
    """Raise an error while reads go to the primary."""
    if not replica().is_usable:
        raise OSError("the replica of PostgreSQL does not keep up")


def check_elasticsearch() -> Dependency:
    if not settings.ELASTICSEARCH_URL:
        return {"status": "not_configured", "latency_ms": 0.0}
    return check(ask_elasticsearch)


def ask_elasticsearch() -> None:
    """Raise an error unless Elasticsearch answers 200, and not a proxy in its place.

    This uses the client's connections directly, which neither retry nor log.
    """
    node = client().transport.node_pool.get()
    answer = node.perform_request(
        "GET", "/_cluster/health", request_timeout=ELASTICSEARCH_TIMEOUT_SECONDS
    )
    if answer.meta.status != HTTPStatus.OK:
        raise OSError(f"Elasticsearch answered {answer.meta.status}")
    if b'"cluster_name"' not in answer.body:
        raise OSError("something else answers in the place of Elasticsearch")
