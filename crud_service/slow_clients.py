"""Threads held by clients: while a body arrives, while a long list is read.

The server has few threads, since more of them crowd the interpreter. So that a
handful of slow clients cannot take all, most of them and no more may be held;
whoever comes then with a body, or for a long list, is asked to come again.
None may be held for ever: see `silent_clients`.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from contract.problems import Overloaded
from crud_service import silent_clients

logger = logging.getLogger(__name__)

THREADS = 16
HELD_AT_MOST = 10

_free = threading.BoundedSemaphore(HELD_AT_MOST)


@contextmanager
def held_thread() -> Iterator[None]:
    """Hold a thread for a while; raises Overloaded when too many are."""
    if not _free.acquire(blocking=False):
        raise Overloaded
    hold = object()
    silent_clients.begin(hold)
    try:
        yield
    finally:
        silent_clients.end(hold)
        _free.release()


class HeldStream:
    """Chunks on their way to a client, who holds a thread until the last one or until it goes.

    Raises Overloaded at once when too many are held.
    """

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._held = _free.acquire(blocking=False)
        self._chunks = chunks
        if not self._held:
            raise Overloaded
        silent_clients.begin(id(self))

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._chunks)
        except StopIteration:
            self.close()
            raise
        except Exception as error:
            # Too late for a status: what the client has is no valid JSON, and that tells it.
            self.close()
            logger.error("a list broke off", exc_info=error)
            raise StopIteration from None

    def close(self) -> None:
        """Let the thread go; servers call it when the client is gone, or drop us without."""
        if self._held:
            self._held = False
            silent_clients.end(id(self))
            _free.release()

    __del__ = close
