"""Fair sharing of a limited number of concurrent seedings between applications."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from web.fair_places import FairPlaces
from web.problems import Overloaded


class Places(FairPlaces):
    """When too many wait, the last one of the application with the most waiting is refused."""

    def __init__(self, places: int, *, per_application: int, max_waiting: int) -> None:
        super().__init__(places, per_application)
        self._max_waiting = max_waiting

    @asynccontextmanager
    async def place(self, access_token: str) -> AsyncIterator[None]:
        """Hold a place; raises Overloaded when too many wait."""
        if not self.is_free_for(access_token) and self.waiting >= self._max_waiting:
            self._make_room(access_token)
        await self.enter(access_token)
        try:
            yield
        finally:
            self.leave(access_token)

    def _make_room(self, access_token: str) -> None:
        """Refuse the last of the longest queue; raises Overloaded when that is the caller's."""
        longest = self.longest_queue()
        if self.waiting_of(longest) <= self.waiting_of(access_token) + 1:
            raise Overloaded
        self.refuse_last(longest, Overloaded())
