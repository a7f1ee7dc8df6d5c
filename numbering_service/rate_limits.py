"""Rate limits of applications: the configured one, and what answers say of their state.

The header fields are those of draft-ietf-httpapi-ratelimit-headers-10. numbers.lua decides.
"""

from math import ceil
from typing import NamedTuple

MAX_RATE = 1_000_000
_MICROSECONDS = 1_000_000


class Rate(NamedTuple):
    """Creations a second, 0 for any number, and how many may come at once."""

    rate: int
    burst: int


NO_LIMIT = Rate(0, 1)


class Limit(NamedTuple):
    """A limit, and its state after a creation, or the attempt at one.

    `ahead` is how long it takes, in microseconds, until everything is available again, `wait`
    how long until what was refused would be let through.
    """

    rate: int
    burst: int
    ahead: int
    wait: int

    def fields(self) -> dict[str, str]:
        """Return the header fields of an answer."""
        # A burst below the rate is no quota: in any second the rate is available.
        quota = max(self.rate, self.burst)
        window = ceil(quota / self.rate)
        left = max(0, int(self.burst - self.ahead * self.rate / _MICROSECONDS))
        seconds = ceil((self.wait or self.ahead) / _MICROSECONDS)
        fields = {
            "RateLimit": f'"application";r={left};t={seconds}',
            "RateLimit-Policy": f'"application";q={quota};qu="creations";w={window}',
        }
        return {"Retry-After": str(seconds), **fields} if self.wait else fields
