"""Something that is looked at again and again while a block runs."""

import threading
from typing import Self


class Watch:
    """Looks in a thread of its own: when the block begins, at an interval, and once at its end."""

    def __init__(self, every: float) -> None:
        """`every` is in seconds."""
        self._every = every
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look_until_over, name=type(self).__name__)

    def look(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look_until_over(self) -> None:
        is_over = False
        while not is_over:
            # Asked before the look, so that the last look is behind the end of the block.
            is_over = self._over.is_set()
            self.look()
            self._over.wait(self._every)
