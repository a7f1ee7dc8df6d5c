"""Applications that are being imported: hidden until they are complete, or removed again.

Their rows are committed in many transactions, as those of a large one would not fit into one.
Until the last of them, the application has a token that no request can name (`HIDDEN`), lists
leave it out, and `application_totals` does not count it. The process that imports holds a lock
for its session, which PostgreSQL releases when the process dies: what is hidden and not locked
was left behind, and is removed by the next import or by the worker.
"""

import logging
import secrets
from typing import Any

import psycopg

logger = logging.getLogger(__name__)

Connection = psycopg.Connection[tuple[Any, ...]]

# No access token has a tilde.
HIDDEN = "~"
# The upper half of a lock's key; the lower half is the application's id.
_LOCKS = 0x494D504F << 32
# Deleted in one transaction; each row deletes its search text, and puts a change in the outbox.
ROWS_AT_ONCE = 1000

CREATE = "INSERT INTO applications (access_token, name) VALUES (%s, %s) RETURNING id"
COUNT = "UPDATE application_totals SET total = total + %s WHERE slot = pg_backend_pid() %% 16"
LOCK = "SELECT pg_advisory_lock(%s)"
TRY_LOCK = "SELECT pg_try_advisory_lock(%s)"
UNLOCK = "SELECT pg_advisory_unlock(%s)"
FIND = f"SELECT id FROM applications WHERE access_token LIKE '{HIDDEN}%' ORDER BY id"
IS_HIDDEN = f"SELECT FROM applications WHERE id = %s AND access_token LIKE '{HIDDEN}%%'"
DELETE_MESSAGES = """
DELETE FROM messages WHERE id = ANY (ARRAY(
    SELECT m.id FROM chats c JOIN messages m ON m.chat_id = c.id
    WHERE c.application_id = %s LIMIT %s))
"""
DELETE_CHATS = """
DELETE FROM chats WHERE id = ANY (ARRAY(
    SELECT c.id FROM chats c WHERE c.application_id = %s LIMIT %s))
"""
DELETE_APPLICATION = "DELETE FROM applications WHERE id = %s"


def create_hidden(connection: Connection) -> int:
    """Create a hidden application, locked for this session; return its id."""
    token = HIDDEN + secrets.token_hex(11)
    with connection.transaction():
        ((application_id,),) = connection.execute(CREATE, (token, "import")).fetchall()
        connection.execute(COUNT, (-1,))
        # Before the commit: nobody may take it for one that was left behind.
        connection.execute(LOCK, (_LOCKS | application_id,))
    return int(application_id)


def remove_hidden(connection: Connection, application_id: int) -> None:
    """Remove a hidden application that this session has locked, in short transactions."""
    for statement in (DELETE_MESSAGES, DELETE_CHATS):
        while connection.execute(statement, (application_id, ROWS_AT_ONCE)).rowcount:
            pass
    with connection.transaction():
        if connection.execute(DELETE_APPLICATION, (application_id,)).rowcount:
            connection.execute(COUNT, (1,))


def remove_left_behind(connection: Connection) -> int:
    """Remove what imports that were killed have left behind; return how many there were."""
    removed = 0
    for (application_id,) in connection.execute(FIND).fetchall():
        ((ours,),) = connection.execute(TRY_LOCK, (_LOCKS | application_id,)).fetchall()
        if not ours:
            continue
        try:
            # It may have become complete since the look, before its lock was released.
            if connection.execute(IS_HIDDEN, (application_id,)).fetchone() is not None:
                remove_hidden(connection, application_id)
                removed += 1
        finally:
            connection.execute(UNLOCK, (_LOCKS | application_id,))
    if removed:
        logger.info("unfinished imports removed", extra={"imports": removed})
    return removed
