"""Bounds the event loop's time that events of one application may take."""

import asyncio

# Its followers get events for a quarter of the time at most.
REST = 3.0
# What takes less is not counted: a chat with a few followers.
FREE_SECONDS = 0.002


class Pace:
    """How soon an application's followers may be given events again.

    A message to a thousand followers takes the event loop 15 ms. Written as fast as they are
    accepted, messages in one such chat would take all of its time. What arrives during a rest
    is sent together after it, at much less cost.
    """

    def __init__(self) -> None:
        self._next = 0.0  # loop time

    @property
    def rest(self) -> float:
        """The seconds to wait before the next events, 0 for none."""
        return max(0.0, self._next - asyncio.get_running_loop().time())

    def spent(self, seconds: float) -> None:
        """Note that giving events has taken this long."""
        if seconds > FREE_SECONDS:
            now = asyncio.get_running_loop().time()
            self._next = max(self._next, now) + REST * seconds
