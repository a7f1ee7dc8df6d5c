"""A thread pool that no single application can monopolise, and answers made in it piece by piece.

Each owner has a limit of running and of waiting requests; more are refused.
Waiting owners are served round-robin, however many requests each has queued.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from threading import Barrier
from typing import Any, TypeVar

from web.fair_places import FairPlaces
from web.problems import Overloaded, Problem

logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True)
class Bounds:
    """Limits of a pool: threads and waiting requests, in total and per owner."""

    threads: int
    share: int
    waiting: int
    share_of_waiting: int


class FairThreads:
    """Run functions in threads; create and use it on a single event loop."""

    def __init__(self, name: str, bounds: Bounds) -> None:
        self._bounds = bounds
        self._executor = ThreadPoolExecutor(bounds.threads, thread_name_prefix=name)
        start_all_threads(self._executor, bounds.threads)
        self._places = FairPlaces(bounds.threads, bounds.share)

    async def run(self, owner: str, work: Callable[..., T], *args: Any) -> T:
        """Return what `work` returns; raise Overloaded at once if too many requests wait."""
        places, bounds = self._places, self._bounds
        if not places.is_free_for(owner) and (
            places.waiting >= bounds.waiting or places.waiting_of(owner) >= bounds.share_of_waiting
        ):
            raise Overloaded
        return await self.run_patiently(owner, work, *args)

    async def run_patiently(self, owner: str, work: Callable[..., T], *args: Any) -> T:
        """Like `run`, but wait without a limit: for the next part of an answer that has begun."""
        await self._places.enter(owner)
        loop = asyncio.get_running_loop()
        result: asyncio.Future[T] = loop.create_future()
        done = partial(self._done, loop, owner, result)
        self._executor.submit(work, *args).add_done_callback(done)
        try:
            return await result
        finally:
            # An exception refers to this frame, and to what `work` held: megabytes of a page. If
            # the frame referred to the exception, they would stay until garbage is collected.
            del result, done

    def shutdown(self) -> None:
        """Wait for running work, then stop the threads."""
        self._executor.shutdown()

    def _done(
        self,
        loop: asyncio.AbstractEventLoop,
        owner: str,
        result: "asyncio.Future[T]",
        done: "Future[T]",
    ) -> None:
        """Called in the thread, with its outcome."""
        with suppress(RuntimeError):  # the loop is closed, so nobody awaits the result
            loop.call_soon_threadsafe(self._finish, owner, done, result)

    def _finish(self, owner: str, done: "Future[T]", result: "asyncio.Future[T]") -> None:
        self._places.leave(owner)
        if result.cancelled():
            return
        error = done.exception()
        if error is None:
            result.set_result(done.result())
        elif isinstance(error, StopIteration):
            result.set_exception(RuntimeError("a function for a thread raised StopIteration"))
        else:
            result.set_exception(error)


def start_all_threads(executor: ThreadPoolExecutor, threads: int) -> None:
    """Start an executor's threads now instead of with the work that needs them.

    The event loop would wait until each new thread runs: for up to a second in all while many
    others compete for the interpreter lock.
    """
    all_run = Barrier(threads)
    for _ in range(threads):
        executor.submit(all_run.wait)


async def chunks(threads: FairThreads, owner: str, pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the pieces, each made in a thread when it is asked for.

    Args:
        threads: the pool.
        owner: the application on whose share of the pool they count.
        pieces: makes them.
    """
    while (piece := await threads.run_patiently(owner, next, pieces, None)) is not None:
        yield piece


def log_cut_short(error: Exception, request_id: str) -> None:
    """Log that an answer ended early, which its client notices: it is too late for an error status.

    What a Problem says is no fault of ours: clients delete what they read as often as they like.
    """
    extra = {"request_id": request_id}
    if isinstance(error, Problem):
        logger.info("a response was cut short", extra={**extra, "reason": error.code})
    else:
        logger.error("a response was cut short", exc_info=error, extra=extra)
