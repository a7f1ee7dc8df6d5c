"""Wait for something by looking again and again: the one way in which tests wait.

    eventually(look, satisfied, seconds)   what was seen last, for the test to assert on
    wait_until(condition, seconds)         fails when the condition does not come true

Left to themselves are loops that run beside the thing they watch (in its event loop), that
count what they see on the way, or that are part of a load.
"""

import time
from collections.abc import Callable
from typing import TypeVar

# A look costs some milliseconds of the processor, wherever what is asked runs.
SHORTEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.02, 0.1

T = TypeVar("T")


def eventually(
    look: Callable[[], T],
    satisfied: Callable[[T], bool],
    seconds: float,
    *,
    pause: float | None = None,
) -> T:
    """Look until satisfied or out of time; returns what was seen last."""
    started = time.monotonic()
    while not satisfied(seen := look()) and (passed := time.monotonic() - started) < seconds:
        time.sleep(pause or pause_after(passed))
    return seen


def wait_until(
    condition: Callable[[], bool],
    seconds: float,
    explain: Callable[[], str] = lambda: "",
    *,
    pause: float | None = None,
) -> float:
    """Wait for a condition; returns after how many seconds it was met, and fails if it never is."""
    started = time.monotonic()
    while not condition():
        passed = time.monotonic() - started
        assert passed < seconds, f"not within {passed:.1f} s\n{explain()}"
        time.sleep(pause or pause_after(passed))
    return time.monotonic() - started


def pause_after(passed: float) -> float:
    """Return how long to wait for the next look: a tenth of what has passed, within bounds."""
    return min(max(passed / 10, SHORTEST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)
