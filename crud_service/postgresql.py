"""How each part of crud_service connects to PostgreSQL: timeouts and settings of the session."""

from typing import Any

Parameters = dict[str, Any]


def parameters(
    application_name: str, connect_timeout: int, tcp_user_timeout: int, **session: object
) -> Parameters:
    """Return libpq's parameters: seconds to connect, milliseconds without an acknowledgement.

    `session` are PostgreSQL's own settings.
    """
    return {
        "application_name": application_name,
        "connect_timeout": connect_timeout,
        "tcp_user_timeout": tcp_user_timeout,
        # How soon the client notices a peer that has vanished while a connection is idle.
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "options": " ".join(f"-c {name}={value}" for name, value in session.items()),
    }


# Statements here take milliseconds; JIT compilation or parallel workers would take longer.
# So does planning: each statement has one good plan for all values, but the planner
# overestimates the cost of a page in a large table and would plan every page anew.
REQUESTS = parameters(
    "crud_service",
    2,
    5_000,
    TimeZone="UTC",
    statement_timeout="4s",
    lock_timeout="3s",
    jit="off",
    max_parallel_workers_per_gather=0,
    plan_cache_mode="force_generic_plan",
    # A network failure in the middle of an update must not leave a row locked: the
    # persister needs some of them.
    idle_in_transaction_session_timeout="10s",
)

# Django's ORM, which the admin and the management commands use.
ORM = parameters("crud_service", 3, 10_000, idle_in_transaction_session_timeout="60s")

# The persister: no half-open connection or lock may block it forever. If it freezes in a
# transaction, it must not keep its locks.
PERSISTER = parameters(
    "worker",
    3,
    10_000,
    statement_timeout="30s",
    idle_in_transaction_session_timeout="10s",
    jit="off",
)

INDEXER = parameters(
    "indexer",
    3,
    10_000,
    jit="off",
    # The queues have no statistics: a bitmap scan would sort everything that an application
    # has waiting, while the index yields the first rows in order.
    enable_bitmapscan="off",
    idle_in_transaction_session_timeout="60s",
    lock_timeout="30s",
    # For PostgreSQL's side, where a half-open connection would hold locks.
    tcp_keepalives_idle=5,
    tcp_keepalives_interval=2,
    tcp_keepalives_count=3,
)
