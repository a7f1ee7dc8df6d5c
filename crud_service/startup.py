"""Checks and warnings at the start of each process."""

import logging
import re
import sys
from contextlib import suppress
from functools import cache
from urllib.parse import urlsplit

import psycopg
from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from redis import RedisError

from contract.known_secrets import is_known_secret
from crud_service import settings
from crud_service.postgresql import REQUESTS
from crud_service.stores.installed_shards import obstacle_at_start
from crud_service.stores.redis_clients import api_redis, shards
from crud_service.stores.shard_connections import ShardServers

logger = logging.getLogger(__name__)

SEARCH_INDEX = re.compile(r"(?!.*-\d{14}-[0-9a-f]{4}$)[a-z0-9][a-z0-9_-]{0,99}", re.ASCII)
SESSION_SETTINGS = """
SELECT name, current_setting(name)
FROM unnest('{statement_timeout,synchronous_commit}'::text[]) AS name
"""
SECRETS = ("SECRET_KEY", "INTERNAL_TOKEN", "ADMIN_PASSWORD")


def refusals() -> list[str]:
    """Return why this process must not start."""
    return [*invalid_settings(), *weak_secrets(), *misplaced_demo()]


def invalid_settings() -> list[str]:
    refused = list(settings.INVALID)
    elasticsearch = urlsplit(settings.ELASTICSEARCH_URL)
    if elasticsearch.scheme == "http" and elasticsearch.port is None:
        refused.append("ELASTICSEARCH_URL must have a port: its client knows none for http")
    if not SEARCH_INDEX.fullmatch(settings.SEARCH_INDEX):
        refused.append(
            f"SEARCH_INDEX is {settings.SEARCH_INDEX!r}: it takes 1 to 100 lower-case letters a-z, "
            "digits, hyphens and underscores, begins with a letter or a digit, and does not end "
            "like the name of an index (-20261231235959-0af3)"
        )
    return refused


def misplaced_demo() -> list[str]:
    """Return why the chat page must not be served, if it is switched on."""
    url = settings.DEMO_NUMBERING_URL
    if not url:
        return []
    if not settings.LOCAL_STACK:
        return ["DEMO_NUMBERING_URL is for a local stack: unset it, or set LOCAL_STACK=1"]
    # It becomes part of the page's Content-Security-Policy.
    if not re.fullmatch(r"https?://[a-z0-9.-]+(:[0-9]+)?|https?://\[[0-9a-f:]+\](:[0-9]+)?", url):
        return [f"DEMO_NUMBERING_URL is {url!r}: it takes an address such as http://127.0.0.1:8080"]
    return []


def weak_secrets() -> list[str]:
    """Return which secrets are missing or well-known, in a container."""
    if not settings.CONTAINER or settings.LOCAL_STACK:
        return []
    refused = [
        f"{name} is missing or a default; set it, or LOCAL_STACK=1 for a local stack"
        for name in SECRETS
        if is_known_secret(getattr(settings, name))
    ]
    # It may be unset, which the log says; a known one would seem to protect something.
    if settings.ADMIN_TOKEN and is_known_secret(settings.ADMIN_TOKEN):
        refused.append("ADMIN_TOKEN is a default; set another one, or none")
    refused += [
        f"the password in {name} is a default; set another one"
        for name in ("DATABASE_URL", "DATABASE_READ_URL")
        if has_known_password(getattr(settings, name))
    ]
    return refused


def has_known_password(database_url: str) -> bool:
    """Return whether a URL has a default password; without one, another auth method is in use."""
    try:
        password = str(conninfo_to_dict(database_url).get("password") or "")
    except (ProgrammingError, UnicodeError):  # refused as such
        return False
    return bool(password) and is_known_secret(password)


def refuse_to_serve(what: str) -> bool:
    """Do what `refuse_to_start` does, and also refuse stores that are not fit to be used.

    They are asked at the start only, and those that do not answer are not refused.
    """
    return refuse_to_start(what) or refuse(
        what, obstacle_at_start() or unfit_pooler() or unfit_for_cluster()
    )


def unfit_pooler() -> str | None:
    """Return what is wrong with a pooler before PostgreSQL; None also if it cannot be asked now.

    One that gives a session to a client for a transaction only, such as PgBouncer, ignores the
    settings of a session, and executes a statement that another client has prepared.
    """
    for name in ("DATABASE_URL", "DATABASE_READ_URL"):
        url = getattr(settings, name)
        if url and ignores_settings(url):
            return (
                f"{name} leads to a pooler that ignores the settings of a session (`options`):"
                " name PostgreSQL itself, see docs/operations.md"
            )
    return None


def ignores_settings(database_url: str) -> bool:
    """Return whether sessions lack the settings they were opened with; False if none opens."""
    found = session_settings(database_url)
    if not found:
        return False
    return f"statement_timeout={found['statement_timeout']} " not in REQUESTS["options"]


@cache
def session_settings(database_url: str) -> dict[str, str]:
    """Return settings of a session at the start of this process, by name; none if none opens."""
    with suppress(psycopg.Error), psycopg.connect(database_url, **REQUESTS) as connection:
        return dict(connection.execute(SESSION_SETTINGS).fetchall())
    return {}


def unfit_for_cluster() -> str | None:
    """Return what a cluster of Redis needs and is not set; None also if Redis cannot be asked."""
    try:
        if not ShardServers(settings.REDIS_URL).is_cluster():
            return None
    except (RedisError, OSError):
        return None
    if settings.SHARDS == 1:
        return "REDIS_URL names a cluster, which takes SHARDS of at least 2"
    if settings.BROKER_URL == settings.REDIS_URL:
        return "REDIS_URL names a cluster, which Celery cannot use: set BROKER_URL to another Redis"
    return None


def refuse_to_start(what: str) -> bool:
    """Print to stderr why a process must not start; return whether there is a reason."""
    reasons = refusals()
    for reason in reasons:
        refuse(what, reason)
    return bool(reasons)


def refuse(what: str, reason: str | None) -> bool:
    """Print a reason for which a process must not start; return whether there is one."""
    if reason:
        print(f"{what} refuses to start: {reason}", file=sys.stderr)  # noqa: T201 - to a person
    return bool(reason)


def warnings() -> None:
    """Log which doors are open, or closed, for want of a setting, and what may be lost."""
    if not settings.ADMIN_TOKEN:
        logger.warning("ADMIN_TOKEN is not set: anyone may list and create applications")
    if not settings.INTERNAL_TOKEN:
        logger.warning("INTERNAL_TOKEN is not set: missing sequences cannot be seeded")
    policy = eviction_policy()
    if policy:
        logger.warning(
            "Redis removes accepted messages or idempotency keys when its memory is full:"
            " set maxmemory-policy to noeviction",
            extra={"maxmemory_policy": policy},
        )
    if session_settings(settings.DATABASE_URL).get("synchronous_commit") == "off":
        logger.warning(
            "PostgreSQL confirms commits before they are on disk, and its crash loses accepted"
            " messages: set synchronous_commit to on"
        )


def eviction_policy() -> str | None:
    """Return by what policy a Redis evicts keys; None if none does, or they cannot be asked now."""
    with suppress(RedisError, OSError):
        for shard in shards():
            policy = str(api_redis(shard.number).info("memory").get("maxmemory_policy"))
            if policy.startswith(("allkeys", "volatile")):
                return policy
    return None
