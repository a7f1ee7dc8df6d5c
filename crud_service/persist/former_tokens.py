"""Stores entries that were accepted under a token that has been rotated since."""

from collections.abc import Callable, Sequence

import psycopg

from contract.entries import Entry
from crud_service.persist.store import Stored, store

FindCurrent = Callable[[psycopg.Connection, set[str]], dict[str, str]]

# A token may have been rotated several times: the application has the current one.
FIND_CURRENT = """
SELECT former.former_token, application.access_token
FROM rotations AS former JOIN applications AS application ON application.id = former.application_id
WHERE former.former_token = ANY(%s::text[]) AND application.deleted_at IS NULL
"""


def find_current(connection: psycopg.Connection, tokens: set[str]) -> dict[str, str]:
    """Return the current token for each former one of an application."""
    with psycopg.Cursor(connection) as cursor:
        return dict(cursor.execute(FIND_CURRENT, (list(tokens),)).fetchall())


def store_by_any_token(
    connection: psycopg.Connection, entries: Sequence[Entry], find: FindCurrent = find_current
) -> Stored:
    """Store a batch; entries with a former token go to the application that had it.

    They follow the others in a transaction of their own. No entry with the current token is among
    the others, as none is accepted before those with the former one are stored. If the token is
    rotated once more before they are stored, they are looked up again.
    """
    stored = store(connection, entries)
    if not stored.unknown:
        return stored
    current = find(connection, {entry.access_token for entry in stored.unknown})
    unknown, stored.unknown = stored.unknown, []
    renamed = []
    for entry in unknown:
        if entry.access_token in current:
            renamed.append(entry._replace(access_token=current[entry.access_token]))
        else:
            stored.unknown.append(entry)
    if renamed:
        stored.add(store_by_any_token(connection, renamed, find))
    return stored
