"""Applications that are being imported: hidden until they are complete, or removed again.

Their rows are committed in many transactions, as those of a large one would not fit into one.
Until the last of them, the application has a token that no request can name (`HIDDEN`), lists
leave it out, and `application_totals` does not count it. The process that imports holds a lock
for its session, which PostgreSQL releases when the process dies: what is hidden and not locked
was left behind, and is removed by the next import or by the worker.

It is removed like any deleted application (see `crud_service.erase.rows`), so the worker's eraser
finishes what was begun here.
"""

import logging
import secrets
import time
from collections.abc import Callable
from contextlib import suppress

import psycopg

from crud_service.erase.rows import Deletion, erase_rows, finish
from crud_service.stores.advisory_locks import lock, wait_for_lock
from crud_service.stores.database import Connection

logger = logging.getLogger(__name__)

# No access token has a tilde.
HIDDEN = "~"
# After a batch without messages: most likely, the worker's eraser is at the next one.
PAUSE_SECONDS = 0.01
# The upper half of a lock's key; the lower half is the application's id.
_LOCKS = 0x494D504F << 32
CREATE = "INSERT INTO applications (access_token, name) VALUES (%s, %s) RETURNING id"
COUNT = "UPDATE application_totals SET total = total + %s WHERE slot = pg_backend_pid() %% 16"
FIND = f"SELECT id FROM applications WHERE access_token LIKE '{HIDDEN}%' ORDER BY id"
# Counted no more by a trigger, though it was not counted before.
MARK = f"""
UPDATE applications SET deleted_at = now()
WHERE id = %s AND access_token LIKE '{HIDDEN}%%' AND deleted_at IS NULL
"""
REQUEST = """
INSERT INTO deletions (application_id, access_token)
SELECT id, access_token FROM applications WHERE id = %s
"""
FIND_REQUEST = f"""
SELECT d.id, d.access_token FROM deletions d JOIN applications a ON a.id = d.application_id
WHERE a.id = %s AND a.access_token LIKE '{HIDDEN}%%'
"""


def create_hidden(connection: Connection) -> int:
    """Create a hidden application, locked for this session; return its id."""
    token = HIDDEN + secrets.token_hex(11)
    with connection.transaction():
        ((application_id,),) = connection.execute(CREATE, (token, "import")).fetchall()
        connection.execute(COUNT, (-1,))
        # Before the commit: nobody may take it for one that was left behind.
        wait_for_lock(connection, _LOCKS | application_id)
    return int(application_id)


def remove_hidden(
    connection: Connection, application_id: int, removed: Callable[[int], object]
) -> bool:
    """Remove a hidden application that this session has locked; return whether it was there.

    Goes on with one whose removal was interrupted. `removed` is called after each batch, with how
    many messages it had.
    """
    with connection.transaction():
        if connection.execute(MARK, (application_id,)).rowcount:
            connection.execute(COUNT, (1,))
            connection.execute(REQUEST, (application_id,))
        found = connection.execute(FIND_REQUEST, (application_id,)).fetchone()
    if found is None:
        return False
    deletion_id, token = found
    deletion = Deletion(deletion_id, application_id, None, token, None)
    while (messages := erase_rows(connection, deletion)) is not None:
        removed(messages)
        if not messages:
            time.sleep(PAUSE_SECONDS)
    with suppress(psycopg.errors.LockNotAvailable):  # the eraser does it then
        finish(connection, deletion)
    return True


def remove_left_behind(
    connection: Connection, removed: Callable[[int], object] = lambda messages: None
) -> int:
    """Remove what imports that were killed have left behind; return how many there were.

    `removed` is called after each batch, with how many messages it had.
    """
    imports = 0
    for (application_id,) in connection.execute(FIND).fetchall():
        with lock(connection, _LOCKS | application_id) as ours:
            # It may have become complete since the look, before its lock was released.
            imports += ours and remove_hidden(connection, application_id, removed)
    if imports:
        logger.info("unfinished imports removed", extra={"imports": imports})
    return imports
