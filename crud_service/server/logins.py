"""Pacing of admin logins: one password check at a time, and a wrong one takes a second or more.

A password check costs a third of a second of CPU, so guessing must be paced; refusing
all logins during an attack would lock the operators out. Where processors are scarce a check
takes longer, and so does the pause after it. Logins therefore wait in a queue that serves client
addresses round-robin. A browser that has logged in before carries a signed cookie
(OWASP: device cookie) and gets threads and queues of its own for every page of the site. Strangers
cannot fill those, even behind a proxy, where all clients share one address.
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
# Guesses take a third of a processor at most.
PAUSE_TIMES = 2
LONGEST_PAUSE_SECONDS = 2.0
COOKIE = "known_browser"
# The site has three short ones, others of the same host come with them.
MAX_COOKIES_BYTES = 16 * 1024
COOKIE_SECONDS = 365 * 24 * 3600
_SALT = "crud_service.server.logins"


def is_login(environ: Mapping[str, Any]) -> bool:
    """Return whether the request is a login attempt."""
    is_read = environ["REQUEST_METHOD"] in {"GET", "HEAD"}
    return not is_read and environ["PATH_INFO"].rstrip("/") == LOGIN


def is_known_browser(environ: Mapping[str, Any]) -> bool:
    """Return whether the request carries a valid cookie from an earlier login.

    The event loop asks, so cookies that take long to parse are not looked at.
    """
    cookies = environ.get("HTTP_COOKIE", "")
    if len(cookies) > MAX_COOKIES_BYTES:
        return False
    cookie = parse_cookie(cookies).get(COOKIE, "")
    try:
        signing.loads(cookie, salt=_SALT, max_age=COOKIE_SECONDS)
    except signing.BadSignature:
        return False
    return True


def remember_browser(response: HttpResponse) -> None:
    """Set the device cookie on the response to a successful login."""
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
    """Sleep after a wrong password, whose check started at a reading of `time.monotonic`."""
    taken = time.monotonic() - started
    pause = min(PAUSE_TIMES * taken, LONGEST_PAUSE_SECONDS)
    time.sleep(max(WRONG_PASSWORD_SECONDS - taken, pause))
