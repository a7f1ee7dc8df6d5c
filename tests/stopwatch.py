"""How long something takes that has to be over in time, on a machine that may stand still.

Such seconds are nobody's: a bound that is kept with two seconds to spare would fail now and then.
"""

import time
from collections.abc import Callable

from bench.watch import Watch

TICK_SECONDS = 0.1
# A busy machine lets a thread wait for as long as this.
LONGEST_TICK_SECONDS = 0.5


class Stopwatch(Watch):
    """Counts the seconds of a block, but for those in which this process did not run.

    with Stopwatch() as watch:
        server.stop()
    assert watch.seconds < 10
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(TICK_SECONDS)
        self.seconds = 0.0
        self._clock = clock
        self._last = clock()

    def look(self) -> None:
        now = self._clock()
        self.seconds += min(now - self._last, LONGEST_TICK_SECONDS)
        self._last = now
