"""Which requests are repeated, when, and for how long: decisions without I/O."""

import random
from dataclasses import dataclass

import httpx

from chat_backend_client.errors import ChatBackendError, NoAnswer, Problem

# Errors of the network; others (a malformed URL, an unsupported scheme) would recur.
CONNECTION_ERRORS = (
    *(httpx.NetworkError, httpx.TimeoutException),
    *(httpx.RemoteProtocolError, httpx.DecodingError, httpx.ProxyError),
)
# A proxy that makes no connection has been sent nothing of the request.
NOTHING_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
# Refused before anything was done, so any request may be repeated.
REFUSED = {"overloaded", "rate_limited", "request_timeout", "too_many_streams"}
TEMPORARY = {408, 429, 502, 503, 504}


@dataclass(frozen=True, kw_only=True)
class Retries:
    """How long failed requests are repeated; `seconds=0` switches it off.

    No attempt begins more than `seconds` after the first one. Pauses are what `Retry-After`
    says, else they double from `first_pause` to `longest_pause`; both with jitter.
    """

    seconds: float = 30.0
    first_pause: float = 0.1
    longest_pause: float = 5.0

    def pause(self, attempts: int, error: ChatBackendError) -> float:
        """Return the seconds to wait after a number of attempts that failed."""
        if isinstance(error, Problem) and error.retry_after is not None:
            return max(error.retry_after, self.first_pause) * random.uniform(1, 1.25)
        longest = min(self.longest_pause, self.first_pause * 2.0 ** min(attempts, 20))
        return longest * random.uniform(0.5, 1)


def may_succeed(error: ChatBackendError, *, repeatable: bool, until_stored: bool) -> bool:
    """Whether a failed request may be repeated, and may succeed then.

    `repeatable`: doing it twice does no more than doing it once. `until_stored`: what was
    numbered but is not stored yet is worth waiting for.
    """
    if isinstance(error, NoAnswer):
        return repeatable or isinstance(error.__cause__, NOTHING_SENT)
    if not isinstance(error, Problem):
        return False
    if error.code == "not_stored_yet":
        return until_stored
    return error.code in REFUSED or (repeatable and error.status in TEMPORARY)
