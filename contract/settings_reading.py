"""Reads values of settings from the environment, alike in both services."""

import re
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from urllib.parse import urlsplit

# Visible ASCII without quotes, angle brackets, a query or a fragment.
_ADDRESS = re.compile(r"https?://[!$-&(-;=@-~]+")
# Of a Redis that the services can use: a Unix socket has no shards.
_REDIS_SCHEMES = ("redis://", "rediss://")
_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


class SettingsError(Exception):
    """The environment does not allow the service to start; the message says why."""


def text(env: Mapping[str, str], name: str, default: str = "") -> str:
    """Return a setting as it is.

    Args:
        env: the environment.
        name: the variable.
        default: what it counts as if it is unset or empty.
    """
    return env.get(name) or default


def whole_number(
    env: Mapping[str, str], name: str, default: int, *, least: int = 0, most: int = sys.maxsize
) -> int:
    """Read a whole number; raises SettingsError for anything else.

    Args:
        env: the environment.
        name: the variable.
        default: what it counts as if it is unset or empty.
        least, most: the bounds, inclusive.
    """
    value = text(env, name, str(default))
    if not re.fullmatch("[0-9]{1,99}", value) or int(value) < least:
        kind = "positive whole number" if least else "whole number"
        raise SettingsError(f"{name} must be a {kind}, not {value!r}")
    if int(value) > most:
        raise SettingsError(f"{name} must be at most {most:,}, not {value!r}")
    return int(value)


def log_level(env: Mapping[str, str]) -> str:
    """Return the lowest level that is logged, in capitals; raises SettingsError."""
    level = text(env, "LOG_LEVEL", "info").upper()
    if level not in _LOG_LEVELS:
        raise SettingsError("LOG_LEVEL must be debug, info, warning or error")
    return level


def switch(env: Mapping[str, str], name: str, default: str = "0") -> bool:
    """Return whether something is switched on; raises SettingsError for anything but 0 and 1.

    Args:
        env: the environment.
        name: the variable.
        default: what it counts as if it is unset or empty.
    """
    value = text(env, name, default)
    if value not in {"0", "1"}:
        raise SettingsError(f"{name} must be 0 or 1, not {value!r}")
    return value == "1"


def address(env: Mapping[str, str], name: str, default: str = "") -> str:
    """Return the address of an HTTP service, without a slash at its end; empty: there is none.

    Raises SettingsError, without the address, which may have a password.

    Args:
        env: the environment.
        name: the variable.
        default: the address if it is unset or empty.
    """
    url = text(env, name, default)
    if url and not is_address(url):
        raise SettingsError(f"{name} must be an address such as http://host.example.com:3000")
    return url.rstrip("/")


def is_address(url: str) -> bool:
    """Whether a URL is one of HTTP with a host, of visible characters, and without a query."""
    try:
        parts = urlsplit(url)
        is_port = parts.port != 0
    except ValueError:
        return False
    return is_port and bool(parts.hostname) and _ADDRESS.fullmatch(url) is not None


def redis_url(env: Mapping[str, str], connect: Callable[[str], object]) -> str:
    """Return the URL of Redis; raises SettingsError, without the URL, which may have a password.

    Args:
        env: the environment.
        connect: makes a connection to a URL, without opening it; raises if that cannot be done.
    """
    url = text(env, "REDIS_URL", "redis://127.0.0.1:6379/0")
    if names_redis(url):
        with suppress(Exception):  # of redis-py, or of what it passes the URL's options to
            connect(url)
            return url
    raise SettingsError("REDIS_URL must be a redis:// or rediss:// URL that redis-py can use")


def broker_url(env: Mapping[str, str], redis_url: str) -> str:
    """Return the URL of Celery's broker; raises SettingsError, without it, for another kind."""
    url = text(env, "BROKER_URL", redis_url)
    if url != redis_url and not names_redis(url):
        raise SettingsError("BROKER_URL must be a redis:// or rediss:// URL")
    return url


def names_redis(url: str) -> bool:
    """Whether a URL has a scheme of Redis, a port that can be, and no path but a database's number.

    Celery refuses another path only when it connects, again and again, and redis-py takes it for 0.
    It may also be the rest of a password with a bare slash or hash, which Celery logs.
    """
    try:
        parts = urlsplit(url)
        is_port = parts.port != 0
    except ValueError:
        return False
    database = parts.path.strip("/")
    is_number = not database or (database.isascii() and database.isdecimal())
    return url.startswith(_REDIS_SCHEMES) and is_port and is_number and "@" not in parts.fragment


def token(env: Mapping[str, str], name: str) -> str:
    """Return a token for a header, where white space around it is lost; raises SettingsError."""
    value = one_line(env, name)
    if value != value.strip():
        raise SettingsError(f"{name} must have no spaces around it")
    return value


def one_line(env: Mapping[str, str], name: str) -> str:
    """Return a secret; raises SettingsError for one that ends in a line break, as in a file."""
    value = env.get(name, "")
    if not value.isprintable():
        raise SettingsError(f"{name} must be one line, without a line break at its end")
    return value
