"""What reads need of threads: to run a function fairly, and to make an answer piece by piece."""

import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Protocol, TypeVar

from web.problems import Problem

logger = logging.getLogger(__name__)

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


def log_cut_short(error: Exception, request_id: str) -> None:
    """Log that an answer ended early, which its client notices: it is too late for an error status.

    What a Problem says is no fault of ours: clients delete what they read as often as they like.
    """
    extra = {"request_id": request_id}
    if isinstance(error, Problem):
        logger.info("a response was cut short", extra={**extra, "reason": error.code})
    else:
        logger.error("a response was cut short", exc_info=error, extra=extra)
