"""Bounds the event loop's time that events of one application may take."""

import asyncio
from collections.abc import Callable

# Of the time, for the events of one application.
SHARE = 0.25
# What may be spent at once without a rest: a chat with a few followers is never delayed.
FREE_SECONDS = 0.002


class Pace:
    """How soon an application's followers may be given events again.

    A message to a thousand followers takes the event loop 15 ms. Written as fast as they are
    accepted, messages in one such chat would take all of its time. What arrives during a rest
    is sent together after it, at much less cost.
    """

    def __init__(self) -> None:
        # Loop time at which all that was spent will have been a share of the time.
        self._paid = 0.0

    @property
    def rest(self) -> float:
        """The seconds to wait before the next events, 0 for none."""
        free = FREE_SECONDS / SHARE
        return max(0.0, self._paid - free - asyncio.get_running_loop().time())

    def after_rest(self, read: Callable[[], None]) -> None:
        """Call `read` now, or once the rest is over."""
        rest = self.rest
        if rest:
            asyncio.get_running_loop().call_later(rest, read)
        else:
            read()

    def spent(self, seconds: float) -> None:
        """Note that giving events has taken this long, until now."""
        started = asyncio.get_running_loop().time() - seconds
        self._paid = max(self._paid, started) + seconds / SHARE
