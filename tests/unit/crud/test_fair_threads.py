"""Shared threads: no owner takes them all, and waiting owners take turns."""

import asyncio
import gc
import threading
import time
import weakref
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from crud_service.fair_threads import Bounds, FairThreads
from web.problems import Overloaded

BOUNDS = Bounds(threads=4, share=2, waiting=6, share_of_waiting=4)


def run(scenario: Callable[[FairThreads], Awaitable[None]]) -> None:
    async def main() -> None:
        threads = FairThreads("test", BOUNDS)
        try:
            await scenario(threads)
        finally:
            threads.shutdown()

    asyncio.run(main())


def test_one_owner_leaves_threads_to_the_others() -> None:
    gate = threading.Event()

    async def scenario(threads: FairThreads) -> None:
        slow = [asyncio.create_task(threads.run("loud", gate.wait, 10)) for _ in range(5)]
        await asyncio.sleep(0.05)
        assert await asyncio.wait_for(threads.run("quiet", lambda: "answered"), 2) == "answered"
        gate.set()
        assert await asyncio.gather(*slow) == [True] * 5

    run(scenario)


def test_requests_beyond_the_share_are_refused_at_once_and_others_are_not() -> None:
    gate = threading.Event()

    async def scenario(threads: FairThreads) -> None:
        slow = [asyncio.create_task(threads.run("loud", gate.wait, 10)) for _ in range(6)]
        await asyncio.sleep(0.05)
        with pytest.raises(Overloaded):
            await threads.run("loud", time.sleep, 0)
        assert await threads.run("quiet", lambda: 1) == 1
        begun = asyncio.create_task(threads.run_patiently("loud", lambda: "a chunk"))
        gate.set()
        await asyncio.gather(*slow)
        assert await begun == "a chunk"

    run(scenario)


def test_owners_that_wait_take_turns() -> None:
    gate, order = threading.Event(), list[str]()

    async def scenario(threads: FairThreads) -> None:
        first = [asyncio.create_task(threads.run(name, gate.wait, 10)) for name in "aabb"]
        await asyncio.sleep(0.05)
        queued = [
            asyncio.create_task(threads.run(name, lambda it=name: order.append(it)))
            for name in ("c", "c", "c", "d")
        ]
        await asyncio.sleep(0.05)
        gate.set()
        await asyncio.gather(*first, *queued)
        assert order.index("d") <= 2

    run(scenario)


def test_cancelled_callers_leave_nothing_behind() -> None:
    gate = threading.Event()

    async def scenario(threads: FairThreads) -> None:
        slow = [asyncio.create_task(threads.run("loud", gate.wait, 10)) for _ in range(6)]
        await asyncio.sleep(0.05)
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)
        gate.set()
        for _ in range(10):
            assert await asyncio.wait_for(threads.run("loud", lambda: 1), 2) == 1

    run(scenario)


def test_exceptions_of_a_function_are_raised() -> None:
    async def scenario(threads: FairThreads) -> None:
        with pytest.raises(ZeroDivisionError):
            await threads.run("a", lambda: 1 / 0)
        assert await threads.run("a", lambda: 1) == 1

    run(scenario)


def test_an_exception_frees_what_its_function_held_without_garbage_collection() -> None:
    held = weakref.WeakSet[threading.Event]()

    def refuse() -> None:
        page = threading.Event()
        held.add(page)
        raise Overloaded

    async def scenario(threads: FairThreads) -> None:
        with suppress(Overloaded):
            await threads.run("owner", refuse)
            pytest.fail("was not refused")
        for _ in range(200):  # the thread lets go of the exception a moment later
            if not held:
                return
            await asyncio.sleep(0.01)
        pytest.fail("it is still in memory")

    gc.disable()
    try:
        run(scenario)
    finally:
        gc.enable()


def test_all_threads_run_before_there_is_work() -> None:
    def started() -> int:
        return sum(thread.name.startswith("test_") for thread in threading.enumerate())

    async def scenario(threads: FairThreads) -> None:
        assert started() == BOUNDS.threads
        await threads.run("a", lambda: None)
        assert started() == BOUNDS.threads

    run(scenario)
