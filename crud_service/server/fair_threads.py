"""A thread pool that no single application can monopolise.

Each owner has a limit of running and of waiting requests; more are refused.
Waiting owners are served round-robin, however many requests each has queued.
"""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from threading import Barrier
from typing import Any, TypeVar

from web.problems import Overloaded

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
        self._running: Counter[str] = Counter()
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self._free = bounds.threads

    async def run(self, owner: str, work: Callable[..., T], *args: Any) -> T:
        """Return what `work` returns; raise Overloaded at once if too many requests wait."""
        if not self._may_run(owner):
            self._check_room(owner)
        return await self.run_patiently(owner, work, *args)

    async def run_patiently(self, owner: str, work: Callable[..., T], *args: Any) -> T:
        """Like `run`, but wait without a limit: for the next part of an answer that has begun."""
        if self._may_run(owner):
            self._take(owner)
        else:
            await self._wait_for_turn(owner)
        loop = asyncio.get_running_loop()
        result: asyncio.Future[T] = loop.create_future()

        def finish(done: "Future[T]") -> None:
            with suppress(RuntimeError):  # the loop is closed, so nobody awaits the result
                loop.call_soon_threadsafe(self._finish, owner, done, result)

        self._executor.submit(work, *args).add_done_callback(finish)
        return await result

    def shutdown(self) -> None:
        """Wait for running work, then stop the threads."""
        self._executor.shutdown()

    def _may_run(self, owner: str) -> bool:
        return self._free > 0 and self._running[owner] < self._bounds.share

    def _take(self, owner: str) -> None:
        self._free -= 1
        self._running[owner] += 1

    def _check_room(self, owner: str) -> None:
        waiting = sum(len(queue) for queue in self._waiting.values())
        own = len(self._waiting.get(owner, ()))
        if waiting >= self._bounds.waiting or own >= self._bounds.share_of_waiting:
            raise Overloaded

    async def _wait_for_turn(self, owner: str) -> None:
        """Return once a thread has been reserved for the owner."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(owner, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._release(owner)  # a thread was reserved, but nobody will use it
            elif turn in self._waiting.get(owner, ()):
                self._waiting[owner].remove(turn)
            raise

    def _finish(self, owner: str, done: "Future[T]", result: "asyncio.Future[T]") -> None:
        self._release(owner)
        if result.cancelled():
            return
        error = done.exception()
        if error is None:
            result.set_result(done.result())
        elif isinstance(error, StopIteration):
            result.set_exception(RuntimeError("a function for a thread raised StopIteration"))
        else:
            result.set_exception(error)

    def _release(self, owner: str) -> None:
        """Free a thread and hand it to the next waiting owner."""
        self._free += 1
        self._running[owner] -= 1
        if not self._running[owner]:
            del self._running[owner]
        for candidate in list(self._waiting):
            if not self._may_run(candidate):
                continue
            queue = self._waiting.pop(candidate)
            turn = next_turn(queue)
            if queue:
                self._waiting[candidate] = queue  # to the end of the queue
            if turn is not None:
                self._take(candidate)
                turn.set_result(None)
                return


def start_all_threads(executor: ThreadPoolExecutor, threads: int) -> None:
    """Start an executor's threads now instead of with the work that needs them.

    The event loop would wait until each new thread runs: for up to a second in all while many
    others compete for the interpreter lock.
    """
    all_run = Barrier(threads)
    for _ in range(threads):
        executor.submit(all_run.wait)


def next_turn(queue: "deque[asyncio.Future[None]]") -> "asyncio.Future[None] | None":
    """Pop and return the first turn that is still awaited."""
    while queue:
        turn = queue.popleft()
        if not turn.done():
            return turn
    return None
