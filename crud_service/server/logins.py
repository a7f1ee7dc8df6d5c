"""Logins at the operators' site: one password is checked at a time, and a wrong one takes a second.

Checking a password takes a third of a second of a processor, so guesses must be paced;
refusing everybody while somebody guesses would lock the operators out. So logins wait
in a queue, addresses taking turns. A browser that has logged in before has a signed
cookie (OWASP calls it a device cookie) that leads to threads and queues of its own,
for every page of the site: no stranger can fill them, even behind a proxy, where all
clients have one address.
"""

import time
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core import signing
from django.http import HttpResponse
from django.http.cookie import parse_cookie

SITE = "/admin"
LOGIN = f"{SITE}/login"
WRONG_PASSWORD_SECONDS = 1.0
COOKIE = "known_browser"
COOKIE_SECONDS = 365 * 24 * 3600
_SALT = "crud_service.server.logins"


def is_login(environ: Mapping[str, Any]) -> bool:
    """Whether a request tries a password."""
    is_read = environ["REQUEST_METHOD"] in {"GET", "HEAD"}
    return not is_read and environ["PATH_INFO"].rstrip("/") == LOGIN


def is_known_browser(environ: Mapping[str, Any]) -> bool:
    """Whether a request brings the cookie of an earlier login."""
    cookie = parse_cookie(environ.get("HTTP_COOKIE", "")).get(COOKIE, "")
    try:
        signing.loads(cookie, salt=_SALT, max_age=COOKIE_SECONDS)
    except signing.BadSignature:
        return False
    return True


def remember_browser(response: HttpResponse) -> None:
    """Give the browser its cookie, with the answer to a login that succeeded."""
    response.set_cookie(
        COOKIE,
        signing.dumps("", salt=_SALT),
        max_age=COOKIE_SECONDS,
        path=SITE,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )


def pace(started: float) -> None:
    """Hold the thread until a wrong password has taken its time; `started` is by `monotonic`."""
    time.sleep(max(0.0, started + WRONG_PASSWORD_SECONDS - time.monotonic()))
