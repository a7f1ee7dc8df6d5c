"""Readiness needs no token: a flood of requests for it starves no probe."""

import asyncio

from crud_service.server.pools import READINESS, Pools
from numbering_service.api.probes import Dependencies, SharedCheck


def test_concurrent_lookups_share_one_check() -> None:
    started = 0

    async def check() -> Dependencies:
        nonlocal started
        started += 1
        await asyncio.sleep(0.01)
        return {"crud_service": {"status": str(started)}}

    async def flood() -> list[Dependencies]:
        shared = SharedCheck()
        at_once = await asyncio.gather(*(shared.run(check) for _ in range(100)))
        return [*at_once, await shared.run(check)]

    answers = asyncio.run(flood())
    assert [answer["crud_service"]["status"] for answer in answers] == ["1"] * 100 + ["2"]


def test_a_cancelled_caller_does_not_end_the_check_of_the_others() -> None:
    async def check() -> Dependencies:
        await asyncio.sleep(0.01)
        return {"redis": {"status": "ok"}}

    async def leave() -> Dependencies:
        shared = SharedCheck()
        first = asyncio.create_task(shared.run(check))
        second = asyncio.create_task(shared.run(check))
        await asyncio.sleep(0)
        first.cancel()
        return await second

    assert asyncio.run(leave()) == {"redis": {"status": "ok"}}


def test_readiness_has_its_own_threads_and_places() -> None:
    pools = Pools()
    ready, _ = pools.of({"PATH_INFO": "/health/ready"})
    assert pools.of({"PATH_INFO": "/health/ready/"}) == (ready, "")
    for path in ("/metrics", "/health/live", "/applications"):
        assert pools.of({"PATH_INFO": path})[0] is not ready
    assert READINESS.waiting >= 1000
    pools.shutdown()
