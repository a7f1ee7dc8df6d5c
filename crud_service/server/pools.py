"""The server's thread pools: which pool runs a request, and which owner it counts towards."""

import re
from collections.abc import Mapping
from typing import Any

from django.conf import settings

from contract.paths import TOKEN_PATTERN
from crud_service.bearer import bears
from crud_service.fair_threads import Bounds, FairThreads
from crud_service.server.logins import SITE, is_known_browser, is_login

# No client holds a thread, so a few are enough to benefit from PostgreSQL's group commit.
REQUESTS = Bounds(threads=8, share=6, waiting=2000, share_of_waiting=1000)
# Separate, so that no client of ours can make the numbering service wait, which asks for numbers
# and applications for all of them.
INTERNAL = Bounds(threads=4, share=3, waiting=2000, share_of_waiting=1000)
# Separate, so that searches delay nothing else. More threads raise throughput a little, but
# contend for the interpreter lock, which shows in the 99th percentile.
SEARCHES = Bounds(threads=6, share=3, waiting=400, share_of_waiting=200)
# The operators' site: one pool for browsers that logged in before and one for strangers.
ADMIN = Bounds(threads=2, share=2, waiting=20, share_of_waiting=20)
# One password at a time (see `logins`); a queued login is served within some seconds.
LOGINS = Bounds(threads=1, share=1, waiting=40, share_of_waiting=8)
# Monitoring is answered even while all other pools are busy or blocked.
OPERATING = Bounds(threads=2, share=2, waiting=20, share_of_waiting=20)
# Readiness needs no token, and a refused probe takes the process out of service. All wait for
# one shared check; more threads would only contend for the interpreter lock.
READINESS = Bounds(threads=2, share=2, waiting=2000, share_of_waiting=2000)

_TOKEN = re.compile(f"/(?:applications|internal/sequences)/({TOKEN_PATTERN})", re.ASCII)


def owner_of(path: str) -> str:
    """Return the access token in a path, or an empty string."""
    match = _TOKEN.match(path)
    return match[1] if match is not None else ""


class Pools:
    """One pool per kind of request; create and use it on a single event loop."""

    def __init__(self) -> None:
        self.requests = FairThreads("request", REQUESTS)
        self._internal = FairThreads("internal", INTERNAL)
        self.searches = FairThreads("search", SEARCHES)
        # Keyed by whether the browser is known.
        self._admin = {True: FairThreads("admin", ADMIN), False: FairThreads("stranger", ADMIN)}
        self._logins = {
            True: FairThreads("login", LOGINS),
            False: FairThreads("stranger-login", LOGINS),
        }
        self._operating = FairThreads("operating", OPERATING)
        self._readiness = FairThreads("readiness", READINESS)

    def of(self, environ: Mapping[str, Any]) -> tuple[FairThreads, str]:
        """Return a request's pool and owner: an access token, a login's address or nothing."""
        path = environ["PATH_INFO"]
        owner = owner_of(path)
        if path.startswith("/internal/") and bears(environ, settings.INTERNAL_TOKEN):
            return self._internal, owner
        if owner:
            is_search = path.rstrip("/").endswith("/search")
            return self.searches if is_search else self.requests, owner
        if path.startswith(SITE):
            is_known = is_known_browser(environ)
            if is_login(environ):
                return self._logins[is_known], environ["REMOTE_ADDR"]
            return self._admin[is_known], ""
        if path.rstrip("/") == "/health/ready":
            return self._readiness, ""
        if path.startswith(("/health", "/metrics")):
            return self._operating, ""
        return self.requests, ""

    def shutdown(self) -> None:
        """Wait for running work, then stop the threads."""
        admin = (*self._admin.values(), *self._logins.values())
        operating = (self._operating, self._readiness)
        for pool in (self.requests, self._internal, self.searches, *operating, *admin):
            pool.shutdown()
