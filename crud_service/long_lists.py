"""Long lists on their way to clients: so many at once, since each keeps a chunk in memory."""

from collections.abc import Iterator
from threading import BoundedSemaphore

from contract.problems import Overloaded

AT_ONCE = 100

_free = BoundedSemaphore(AT_ONCE)


class LongList:
    """Chunks of a list; raises Overloaded at once when too many lists are being read."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._counted = _free.acquire(blocking=False)
        self._chunks = chunks
        if not self._counted:
            raise Overloaded

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._chunks)

    def close(self) -> None:
        """Leave room for another; a server calls it at the end, however that came about."""
        if self._counted:
            self._counted = False
            _free.release()

    __del__ = close
