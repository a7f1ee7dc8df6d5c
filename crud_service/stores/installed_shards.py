"""For how many shards the keys in Redis are named, as PostgreSQL remembers it.

With another number of shards, applications would be looked for in other streams: entries that wait
in theirs would not be stored, and their numbers would be handed out again. So an installation's
first process writes its SHARDS into a table, and from then on only `reshard` changes it.
"""

from typing import NamedTuple

import psycopg
from django.conf import settings

from crud_service.postgresql import REQUESTS
from crud_service.stores.database import Connection, connect_as

_FIND = "SELECT size, former FROM shards"
_NOTE = "INSERT INTO shards (size) VALUES (%s) ON CONFLICT DO NOTHING"


class Installed(NamedTuple):
    """The number of shards; and the former one, until `reshard` has finished."""

    size: int
    former: int | None


def installed(connection: Connection) -> Installed:
    """Return what the table has; without a row, write SHARDS of this process into it."""
    row = connection.execute(_FIND).fetchone()
    while row is None:
        connection.execute(_NOTE, (settings.SHARDS,))
        row = connection.execute(_FIND).fetchone()
    return Installed(*row)


def obstacle(found: Installed, size: int) -> str | None:
    """Return why a process with `size` shards must not work, None if it may."""
    if found.former is not None:
        return "the number of shards is being changed: run `reshard` to its end"
    if found.size != size:
        return f"SHARDS is {size}, but this installation has {found.size}: see docs/scaling.md"
    return None


def obstacle_at_start() -> str | None:
    """Return why this process must not start; None also if PostgreSQL cannot be asked now.

    Numbers are safe then, too: sequences are started and seeded only where PostgreSQL agrees.
    """
    try:
        with connect_as(REQUESTS) as connection:
            return obstacle(installed(connection), settings.SHARDS)
    except psycopg.Error:
        return None
