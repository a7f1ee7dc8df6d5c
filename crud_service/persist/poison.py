"""Finds the entries that PostgreSQL refuses (poison messages), so that they do not block others."""

import logging
from collections.abc import Callable, Sequence

import psycopg

from contract.entries import Entry
from crud_service.persist.former_tokens import store_by_any_token
from crud_service.persist.set_aside import UNKNOWN_APPLICATION, as_bad, set_aside
from crud_service.persist.store import Stored

logger = logging.getLogger(__name__)

TRIES = 3

# Classes of SQLSTATE that are about the data: data exception, integrity
# constraint violation, program limit exceeded, raised by a trigger. Every other
# error (no connection, no disk, read only, deadlock, a table that does not exist
# yet) means that PostgreSQL cannot store anything now, and is retried later.
_ABOUT_THE_DATA = ("22", "23", "54", "P0")


def is_refusal(error: psycopg.Error) -> bool:
    """Return whether an error is caused by the entry, so that a retry would not help."""
    if error.sqlstate is None:  # raised by psycopg itself, before anything was sent
        return isinstance(error, psycopg.DataError)
    return error.sqlstate.startswith(_ABOUT_THE_DATA)


def store_what_can_be(
    connection: psycopg.Connection,
    entries: Sequence[Entry],
    progress: Callable[[], object] = lambda: None,
) -> Stored:
    """Store a batch, and set aside the refused entries.

    `progress` is called again and again: a batch full of refused entries is thousands of
    transactions. Raises psycopg.Error only for errors that are not refusals, such as an outage.
    """
    progress()
    try:
        stored = store_by_any_token(connection, entries)
    except psycopg.Error as error:
        if not is_refusal(error):
            raise
        return store_in_halves(connection, entries, error, progress)
    return set_unknown_aside(connection, stored)


def set_unknown_aside(connection: psycopg.Connection, stored: Stored) -> Stored:
    """Set aside the entries of a stored batch that belong to no application."""
    if stored.unknown:
        set_aside(connection, [as_bad(entry, UNKNOWN_APPLICATION) for entry in stored.unknown])
    return stored


def store_in_halves(
    connection: psycopg.Connection,
    entries: Sequence[Entry],
    error: psycopg.Error,
    progress: Callable[[], object],
) -> Stored:
    """Bisect a refused batch to find the refused entries; the entries keep their order."""
    if len(entries) == 1:
        return store_alone(connection, entries[0], error)
    logger.warning("batch refused", extra={"entries": len(entries), "reason": reason(error)})
    middle = len(entries) // 2
    stored = store_what_can_be(connection, entries[:middle], progress)
    stored.add(store_what_can_be(connection, entries[middle:], progress))
    return stored


def store_alone(connection: psycopg.Connection, entry: Entry, error: psycopg.Error) -> Stored:
    for _ in range(TRIES - 1):
        try:
            return set_unknown_aside(connection, store_by_any_token(connection, [entry]))
        except psycopg.Error as again:
            if not is_refusal(again):
                raise
            error = again
    set_aside(connection, [as_bad(entry, reason(error))])
    return Stored(refused=[entry])


def reason(error: psycopg.Error) -> str:
    """Return why PostgreSQL refuses an entry, without the detail, which quotes the row."""
    message = error.diag.message_primary or str(error)
    return f"{error.sqlstate or type(error).__name__}: {message}"
