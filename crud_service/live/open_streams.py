"""The open streams of a process: how many there may be, signs of life, and their ends."""

import asyncio
import random
from collections import Counter
from itertools import cycle

from crud_service.live.events import HEARTBEAT
from crud_service.live.followers import Stream
from crud_service.live.stream_limits import STREAM_LIMITS, StreamLimits
from crud_service.live.stream_metrics import OPEN
from web.problems import Overloaded, TooManyStreams

# A heartbeat to ten thousand streams at once would hold up everything else for a tenth of a
# second: they are divided into shares, which take turns. A prime number of them, since the
# hashes of streams, which are made of their addresses, have common factors.
SHARES = 61


class OpenStreams:
    """Counts streams and waiting lists, and calls on each stream; use it on one event loop."""

    def __init__(self, most: int, limits: StreamLimits = STREAM_LIMITS) -> None:
        self._most = most
        self._limits = limits
        self._count = 0
        self._by_application: Counter[str] = Counter()
        # By stream: when it ends, in loop time.
        self._shares: list[dict[Stream, float]] = [{} for _ in range(SHARES)]
        self._turns = cycle(self._shares)
        self._timer: asyncio.TimerHandle | None = None

    def admit(self, access_token: str) -> None:
        """Count one more; raise Overloaded (503) or TooManyStreams (429) at a limit."""
        if self._count >= self._most:
            raise Overloaded("This process has as many streams as it may have. Try again later.")
        if self._by_application[access_token] >= self._limits.of_an_application:
            raise TooManyStreams
        self._count += 1
        self._by_application[access_token] += 1
        OPEN.set(self._count)

    def dismiss(self, access_token: str) -> None:
        """Count one less."""
        self._count -= 1
        self._by_application[access_token] -= 1
        if not self._by_application[access_token]:
            del self._by_application[access_token]
        OPEN.set(self._count)

    def add(self, stream: Stream) -> None:
        """Call on a stream from now on."""
        # Streams that were opened together need not end, and reconnect, together.
        lifetime = self._limits.lifetime_seconds * random.uniform(0.9, 1.1)  # noqa: S311 - no secret
        share = self._shares[hash(stream) % SHARES]
        share[stream] = asyncio.get_running_loop().time() + lifetime
        if self._timer is None:
            self._wait()

    def remove(self, stream: Stream) -> None:
        """Call on a stream no longer."""
        self._shares[hash(stream) % SHARES].pop(stream, None)

    def close(self) -> None:
        """Call on nobody any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self) -> None:
        pause = self._limits.heartbeat_seconds / SHARES
        self._timer = asyncio.get_running_loop().call_later(pause, self._call_on_next)

    def _call_on_next(self) -> None:
        now = asyncio.get_running_loop().time()
        for stream, end in list(next(self._turns).items()):
            if now >= end:
                stream.end()
            elif stream.has_room:
                stream.take(HEARTBEAT)
        self._timer = None
        if any(self._shares):
            self._wait()
