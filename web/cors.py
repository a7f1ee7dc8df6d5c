"""Cross-origin resource sharing (https://fetch.spec.whatwg.org/#http-cors-protocol).

The HTTP server adds these header lines to every answer, including those that no application
takes part in, and answers preflights. Credentials are never allowed: a token is sent in a path
or a header, and only the operators' site has cookies, which is left out of this altogether.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from urllib.parse import unquote, urlsplit

from contract.settings_reading import SettingsError

ANY = "*"
EXPOSED = (
    "ETag, Link, Location, Retry-After, RateLimit, RateLimit-Policy, X-Total-Count, "
    "X-Last-Change, X-Request-ID, X-Search-Backend, Idempotent-Replayed"
)
REQUEST_HEADERS = (
    "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Last-Event-ID, "
    "X-Request-ID"
)
# Chromium remembers a preflight for no longer than this, Firefox for a day.
MAX_AGE_SECONDS = 7200
NEVER = "/admin"
_BEGINNING = 100

Headers = Iterable[tuple[bytes, bytes]]

_ORIGIN = re.compile(
    r"([a-z][a-z0-9+.-]*)://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([1-9][0-9]{0,4}))?"
)
_DEFAULT_PORTS = {"http": "80", "https": "443"}
_START_LINE = re.compile(rb"[^ \r\n]+ (/[^ ?#\r\n]*)")
_ORIGIN_LINE = b"\r\norigin:"


def parse_origins(text: str) -> tuple[str, ...]:
    """Parse a list of origins, separated by commas or spaces, or `*`; raises SettingsError."""
    origins = tuple(dict.fromkeys(text.replace(",", " ").split()))
    if ANY in origins:
        if len(origins) > 1:
            raise SettingsError("CORS_ORIGINS: * allows every origin; remove the others, or the *")
        return origins
    for origin in origins:
        _check(origin)
    return origins


def origin_of_page(url: str) -> str:
    """Return the origin of a page at an address of HTTP, as browsers send it."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    origin = f"{parts.scheme}://[{host}]" if ":" in host else f"{parts.scheme}://{host}"
    is_default = str(parts.port or "") in {"", _DEFAULT_PORTS[parts.scheme]}
    return origin if is_default else f"{origin}:{parts.port}"


def _check(origin: str) -> None:
    match = _ORIGIN.fullmatch(origin)
    if match is None:
        raise SettingsError(
            f"CORS_ORIGINS: {origin!r} is not an origin. An origin is a scheme, a host and maybe "
            "a port, in lower case and without a path or a slash at the end: "
            "https://chat.example.com"
        )
    scheme, port = match.groups()
    if port is not None and _DEFAULT_PORTS.get(scheme) == port:
        raise SettingsError(
            f"CORS_ORIGINS: {origin!r} names the default port, which browsers leave out; "
            f"write {origin.removesuffix(':' + port)}"
        )


class Cors:
    """The header lines for the configured origins.

    `methods_of` returns the methods that a path supports, none if there is no such path.
    """

    def __init__(self, origins: Sequence[str], methods_of: Callable[[str], Sequence[str]]) -> None:
        self._methods_of = methods_of
        self._by_origin: dict[bytes, bytes] = {}
        if ANY in origins:
            self._otherwise = allow(ANY)
        else:
            # Whatever the origin, so that a cache keeps no answer to one for another.
            self._otherwise = b"vary: origin\r\n"
            for origin in origins:
                self._by_origin[origin.encode()] = allow(origin) + self._otherwise

    def lines(self, path: str, headers: Headers) -> bytes:
        """Return the header lines of an answer to a request for `path`, percent-decoded."""
        if is_excluded(path):
            return b""
        if not self._by_origin:
            return self._otherwise
        return self._by_origin.get(origin_of(headers), self._otherwise)

    def lines_for_raw(self, head: bytes) -> bytes:
        """Return the header lines of an answer to a head that was refused unparsed."""
        start = _START_LINE.match(head)
        # Its beginning tells whether the path is excluded.
        path = "/" if start is None else unquote(start[1][:_BEGINNING].decode("latin-1"))
        return self.lines(path, [(b"origin", _origin_in(head))])

    def preflight(self, path: str, headers: Headers) -> bytes | None:
        """Return what the answer to a preflight has in addition to `lines`.

        None if an OPTIONS request is not a preflight, or nothing is allowed: then the application
        answers it as any other.
        """
        headers = list(headers)
        asks = any(name == b"access-control-request-method" for name, _ in headers)
        if not asks or b"access-control-allow-origin" not in self.lines(path, headers):
            return None
        methods = self._methods_of(path)
        if not methods:
            return None
        return (
            f"access-control-allow-methods: {', '.join(methods)}\r\n"
            f"access-control-allow-headers: {REQUEST_HEADERS}\r\n"
            f"access-control-max-age: {MAX_AGE_SECONDS}\r\n"
        ).encode()


def allow(origin: str) -> bytes:
    """Return the lines that let scripts of an origin, or of any, read an answer."""
    return (
        f"access-control-allow-origin: {origin}\r\naccess-control-expose-headers: {EXPOSED}\r\n"
    ).encode()


def is_excluded(path: str) -> bool:
    return path == NEVER or path.startswith(f"{NEVER}/")


def _origin_in(head: bytes) -> bytes:
    """Return the value of the only Origin line; empty if there is none, or several.

    A regular expression would take three times as long for a head of 64 KiB.
    """
    names = head.lower()
    position = names.find(_ORIGIN_LINE)
    start = position + len(_ORIGIN_LINE)
    end = head.find(b"\r\n", start)
    if position < 0 or end < 0 or names.find(_ORIGIN_LINE, start) >= 0:
        return b""
    return head[start:end].strip(b" \t")


def origin_of(headers: Headers) -> bytes:
    """Return the only Origin header; empty if there is none, or several."""
    origins = [value for name, value in headers if name == b"origin"]
    return origins[0] if len(origins) == 1 else b""
