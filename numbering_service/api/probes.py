"""Endpoints for operators: liveness, readiness and metrics."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from time import perf_counter
from typing import Any

import httpx
from fastapi import FastAPI
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from contract.keys import ACCEPTED
from contract.replicas import PROBE, ROLE, count_replicas, shortfall
from contract.shards import Shard, Shards
from numbering_service import metrics
from numbering_service.api.documentation import HEALTH, LIVE, REQUEST_ID_PARAMETER, probe_responses
from numbering_service.connections.acknowledged import NotAcknowledgedError
from numbering_service.running import Running, Service
from web.shard_health import of_all_shards

Check = dict[str, Any]
Dependencies = dict[str, Check]


def add_routes(api: FastAPI) -> None:
    """Add the probes of health and the metrics."""
    shared = SharedCheck()

    async def live() -> JSONResponse:
        """The process is there and its event loop turns."""
        return JSONResponse({"status": "ok"})

    async def ready(parts: Service) -> JSONResponse:
        """The state of each dependency; without crud_service only missing numbers have to wait."""
        dependencies = await shared.run(partial(check_both, parts))
        status = overall(dependencies)
        body = {"status": status, "dependencies": dependencies}
        return JSONResponse(body, 503 if status == "unavailable" else 200)

    async def read_metrics(parts: Service) -> Response:
        """Metrics in the text format of Prometheus."""
        text = await metrics.render(parts.redis, parts.batcher.depth)
        return Response(text, media_type=CONTENT_TYPE_LATEST)

    endpoints: tuple[tuple[str, str, Any, dict[str, Any] | None], ...] = (
        ("/health/live", "Liveness", live, LIVE),
        ("/health/ready", "Readiness", ready, HEALTH),
        ("/metrics", "Metrics", read_metrics, None),
    )
    for path, title, endpoint, schema in endpoints:
        api.add_api_route(
            path,
            endpoint,
            response_class=JSONResponse if schema else PlainTextResponse,
            responses=probe_responses(schema, unavailable=endpoint is ready),
            openapi_extra={"parameters": [REQUEST_ID_PARAMETER]},
            tags=["operations"],
            summary=title,
        )
        api.add_api_route(f"{path}/", endpoint, include_in_schema=False)


class SharedCheck:
    """Runs one check at a time and shares its result with all concurrent callers.

    Anybody may ask for readiness; the stores must not be queried once per caller.
    """

    def __init__(self) -> None:
        self._running: asyncio.Task[Dependencies] | None = None

    async def run(self, check: Callable[[], Coroutine[Any, Any, Dependencies]]) -> Dependencies:
        """Return the result of the check in progress, or of a new one."""
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(check())
        return await asyncio.shield(self._running)


def overall(dependencies: Dependencies) -> str:
    """Return `ok`, `degraded` without crud_service or a shard, or `unavailable` without Redis."""
    if dependencies["redis"]["status"] == "unavailable":
        return "unavailable"
    return "ok" if all(each["status"] == "ok" for each in dependencies.values()) else "degraded"


async def check_both(parts: Running) -> Dependencies:
    return {
        "redis": await check_redis(parts),
        "crud_service": await check(ask_crud(parts.crud)),
    }


async def check_redis(parts: Running) -> Check:
    shards = zip(Shards(len(parts.redis)), parts.redis, strict=True)
    asked = (check(ask_server(shard, redis, parts.replicas)) for shard, redis in shards)
    return of_all_shards(await asyncio.gather(*asked))


async def ask_server(shard: Shard, redis: Redis, replicas: int) -> None:
    """Raise RedisError unless creations of a shard can be answered, which may take replicas."""
    # A write that changes nothing: a replica, or a server without the shard, would answer a ping.
    await redis.persist(shard.key(ACCEPTED))
    if not replicas:
        return
    try:
        await redis.execute_command(*PROBE)  # type: ignore[no-untyped-call] # untyped in redis-py
        connected = count_replicas(await redis.execute_command(*ROLE))  # type: ignore[no-untyped-call] # untyped in redis-py
    except ResponseError as error:
        raise NotAcknowledgedError(shortfall(error, replicas)) from error
    if connected < replicas:
        raise NotAcknowledgedError(f"{connected} of {replicas} replicas are connected")


async def ask_crud(crud: httpx.AsyncClient) -> None:
    (await crud.get("/health/live")).raise_for_status()


async def check(answer: Awaitable[object]) -> Check:
    """Await an answer; return whether it came, and after how many milliseconds."""
    started = perf_counter()
    try:
        await answer
    except NotAcknowledgedError as error:
        return {"status": "unavailable", "reason": str(error)}
    except (RedisError, httpx.HTTPError, OSError):
        return {"status": "unavailable"}
    return {"status": "ok", "latency_ms": round((perf_counter() - started) * 1000, 2)}
