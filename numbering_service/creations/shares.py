"""Bounds what waits, in number and in bytes, and keeps room for applications that hold little.

An application may hold at most as much as is free: a single one half of the
total, two a third each. So however many creations one application sends, there
is room for another's (the "dynamic thresholds" of Choudhury and Hahne, IEEE/ACM
Transactions on Networking 1998).
"""

from dataclasses import dataclass
from typing import Final

from web.problems import Overloaded


@dataclass(slots=True)
class Held:
    places: int = 0
    size: int = 0


NOTHING: Final = Held()


class Shares:
    def __init__(self, places: int, size: int) -> None:
        self._free = Held(places, size)
        self._held: dict[str, Held] = {}

    def take(self, access_token: str, size: int, places: int = 1) -> None:
        """Take places and `size` bytes; raises Overloaded when there is no room.

        Any free place will do for several, so that a few places are enough for a bulk.
        """
        self.check(access_token, size)
        held, free = self._held.get(access_token), self._free
        if held is None:
            held = self._held[access_token] = Held()
        held.places += places
        held.size += size
        free.places -= places
        free.size -= size

    def check(self, access_token: str, size: int) -> None:
        """Raise Overloaded if there is no room for `size` more bytes of an application."""
        free, held = self._free, self._held.get(access_token, NOTHING)
        if held.places >= free.places or held.size + size > free.size:
            raise Overloaded(
                "Too much waits already, of this application or in all; nothing was changed."
            )

    def give_back(self, access_token: str, size: int, places: int = 1) -> None:
        held = self._held[access_token]
        held.places -= places
        held.size -= size
        if not held.places:
            del self._held[access_token]
        self._free.places += places
        self._free.size += size
