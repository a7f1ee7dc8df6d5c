"""What reads need of threads: to run a function fairly, and to make an answer piece by piece."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Threads(Protocol):
    """A pool whose threads are shared by owners (`server.fair_threads`)."""

    async def run(self, owner: str, work: Callable[..., T], *args: Any) -> T:
        """Return what `work` returns; raise Overloaded at once if too many wait."""
        ...

    async def run_patiently(self, owner: str, work: Callable[..., T], *args: Any) -> T:
        """Like `run`, but wait without a limit: for the next part of an answer that has begun."""
        ...


async def chunks(threads: Threads, owner: str, pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the pieces, each made in a thread when it is asked for.

    Args:
        threads: the pool.
        owner: the application on whose share of the pool they count.
        pieces: makes them.
    """
    while (piece := await threads.run_patiently(owner, next, pieces, None)) is not None:
        yield piece
