"""The thread pools of the server: which requests have which threads, and for whom they count."""

import re
from collections.abc import Mapping
from typing import Any

from contract.paths import TOKEN_PATTERN
from crud_service.server.fair_threads import Bounds, FairThreads
from crud_service.server.logins import SITE, is_known_browser, is_login

# No client holds a thread, so few are enough: enough to share PostgreSQL's commits.
REQUESTS = Bounds(threads=8, share=6, waiting=2000, share_of_waiting=1000)
# Searches hold up nothing else. More threads get a little more done and make each other wait
# for the interpreter, which the slowest of a hundred searches shows.
SEARCHES = Bounds(threads=6, share=3, waiting=400, share_of_waiting=200)
# The operators' site, once for browsers that logged in before and once for strangers.
ADMIN = Bounds(threads=2, share=2, waiting=20, share_of_waiting=20)
# One password at a time (see `logins`); those who wait get their turn within some seconds.
LOGINS = Bounds(threads=1, share=1, waiting=40, share_of_waiting=8)
# Monitoring gets an answer when all others are busy or blocked.
OPERATING = Bounds(threads=2, share=2, waiting=20, share_of_waiting=20)
# Readiness needs no token, and a probe that is refused takes the process out of service. Its
# threads wait for one check that they share, so many of them cost little.
READINESS = Bounds(threads=16, share=16, waiting=2000, share_of_waiting=2000)

_TOKEN = re.compile(f"/(?:applications|internal/sequences)/({TOKEN_PATTERN})", re.ASCII)


def owner_of(path: str) -> str:
    """The access token that a path counts for, empty where it names none."""
    match = _TOKEN.match(path)
    return match[1] if match is not None else ""


class Pools:
    """One pool for each kind of request; made and used on one event loop."""

    def __init__(self) -> None:
        self._requests = FairThreads("request", REQUESTS)
        self._searches = FairThreads("search", SEARCHES)
        # By whether the browser is known.
        self._admin = {True: FairThreads("admin", ADMIN), False: FairThreads("stranger", ADMIN)}
        self._logins = {
            True: FairThreads("login", LOGINS),
            False: FairThreads("stranger-login", LOGINS),
        }
        self._operating = FairThreads("operating", OPERATING)
        self._readiness = FairThreads("readiness", READINESS)

    def of(self, environ: Mapping[str, Any]) -> tuple[FairThreads, str]:
        """The pool of a request, and the owner that it counts for: its token, if it has one."""
        path = environ["PATH_INFO"]
        owner = owner_of(path)
        if owner:
            is_search = path.rstrip("/").endswith("/search")
            return self._searches if is_search else self._requests, owner
        if path.startswith(SITE):
            is_known = is_known_browser(environ)
            if is_login(environ):
                return self._logins[is_known], environ["REMOTE_ADDR"]
            return self._admin[is_known], ""
        if path.rstrip("/") == "/health/ready":
            return self._readiness, ""
        if path.startswith(("/health", "/metrics")):
            return self._operating, ""
        return self._requests, ""

    def shutdown(self) -> None:
        """Wait for what runs."""
        admin = (*self._admin.values(), *self._logins.values())
        shared = (self._requests, self._searches, self._operating, self._readiness)
        for pool in (*shared, *admin):
            pool.shutdown()
