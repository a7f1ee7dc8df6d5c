"""How each part of crud_service connects to PostgreSQL: timeouts and settings of the session."""

from typing import Any

Parameters = dict[str, Any]

# For PostgreSQL's side, where a half-open connection would hold its locks for hours: those of its
# session, or of its transaction, if half of a statement arrived: then it does not count as idle.
_KEEPALIVES = "tcp_keepalives_idle=5 tcp_keepalives_interval=2 tcp_keepalives_count=3"
# What the statements take for granted, whatever a role or a database has as its own default: an
# update waits for a row and takes it as it is then, a backslash in a text is a character, and
# psycopg can read a time.
_MEANING = (
    r"-c default_transaction_isolation=read\ committed -c standard_conforming_strings=on"
    " -c DateStyle=ISO"
)


def parameters(
    application_name: str, connect_seconds: int, silent_ms: int, settings: str
) -> Parameters:
    """Return psycopg's parameters: `connect_seconds` to connect, `silent_ms` without an ack."""
    return {
        "application_name": application_name,
        "connect_timeout": connect_seconds,
        "tcp_user_timeout": silent_ms,
        # How soon the client notices a peer that has vanished while a connection is idle.
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "client_encoding": "utf8",
        "options": " ".join(
            [*(f"-c {setting}" for setting in f"{settings} {_KEEPALIVES}".split()), _MEANING]
        ),
    }


# Statements here take milliseconds; JIT compilation or parallel workers would take longer.
# So does planning: each statement has one good plan for all values, but the planner
# overestimates the cost of a page in a large table and would plan every page anew.
# A network failure in the middle of an update must not leave a row locked that the persister
# needs.
REQUESTS = parameters(
    "crud_service",
    2,
    5_000,
    "TimeZone=UTC statement_timeout=4s lock_timeout=3s idle_in_transaction_session_timeout=10s"
    " jit=off max_parallel_workers_per_gather=0 plan_cache_mode=force_generic_plan",
)

# Django's ORM, which the admin and the management commands use.
ORM = parameters("crud_service", 3, 10_000, "idle_in_transaction_session_timeout=60s")

# No half-open connection or lock may block the persister forever. If it freezes in a
# transaction, it must not keep its locks.
PERSISTER = parameters(
    "worker",
    3,
    10_000,
    "statement_timeout=30s idle_in_transaction_session_timeout=10s jit=off",
)

# The queues have no statistics: a bitmap scan would sort everything that an application has
# waiting, while the index yields the first rows in order. The connection lives for weeks: a plan
# that was made while the tables were small must not be kept once they have grown.
INDEXER = {
    "prepare_threshold": None,
    **parameters(
        "indexer",
        3,
        10_000,
        "jit=off enable_bitmapscan=off idle_in_transaction_session_timeout=60s lock_timeout=30s",
    ),
}

# Imports and the worker's chores commit small pieces; nobody waits for the rows that they lock.
_IN_PIECES = "TimeZone=UTC statement_timeout=60s idle_in_transaction_session_timeout=60s jit=off"
IMPORTER = parameters("import", 3, 10_000, _IN_PIECES)
CHORES = parameters("chores", 3, 10_000, _IN_PIECES)
