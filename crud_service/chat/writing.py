"""What the API writes: a new application, a new name, a new body.

Everything here may be run twice (see `database.run`): a creation brings its
token along, and a change to what is there already changes nothing.
"""

import secrets
import string
from typing import Any

from contract.problems import PreconditionFailed, StoreUnavailable
from crud_service.chat.etags import if_match_holds
from crud_service.chat.reading import APPLICATION_JSON, MESSAGE_JSON
from crud_service.chat.start_chats import forget_chats, start_chats
from crud_service.database import Connection, run
from crud_service.search.wake_up import wake_indexer

ALPHABET = string.ascii_letters + string.digits
TOKEN_LENGTH = 24

# Two changes within a millisecond, or a clock that was set back, still move updated_at.
_NEXT_MOMENT = "greatest(clock_timestamp(), x.updated_at + interval '1 millisecond')"

CREATE = f"""
WITH x AS (
    INSERT INTO applications (access_token, name) VALUES (%s, %s)
    ON CONFLICT (access_token) DO UPDATE SET name = excluded.name RETURNING *
) SELECT {APPLICATION_JSON} FROM x
"""
LOCK_APPLICATION = f"""
SELECT x.id, x.name = %s, {APPLICATION_JSON} FROM applications x
WHERE x.access_token = %s FOR NO KEY UPDATE
"""
CHANGE_APPLICATION = f"""
WITH x AS (
    UPDATE applications x SET name = %s, updated_at = {_NEXT_MOMENT} WHERE x.id = %s RETURNING *
) SELECT {APPLICATION_JSON} FROM x
"""
LOCK_MESSAGE = f"""
SELECT x.id, x.body = %s, {MESSAGE_JSON} FROM applications a
JOIN chats c ON c.application_id = a.id AND c.number = %s::bigint
JOIN messages x ON x.chat_id = c.id AND x.number = %s::bigint
WHERE a.access_token = %s FOR NO KEY UPDATE OF x
"""
CHANGE_MESSAGE = f"""
WITH x AS (
    UPDATE messages x SET body = %s, version = x.version + 1, updated_at = {_NEXT_MOMENT}
    WHERE x.id = %s RETURNING *
) SELECT {MESSAGE_JSON} FROM x
"""


def new_access_token() -> str:
    """A token that cannot be guessed: 24 characters, 142 bits."""
    return "".join(secrets.choice(ALPHABET) for _ in range(TOKEN_LENGTH))


def create_application(name: str) -> tuple[str, bytes]:
    """A new application: its token, and itself as JSON.

    The sequence of its chats is started once and before the row can be seen, so
    that nobody can have been given a number of it yet.
    """
    token = new_access_token()
    start_chats(token)

    def create(connection: Connection) -> bytes:
        (application,) = connection.execute(CREATE, (token, name)).fetchone() or (b"",)
        return bytes(application)

    try:
        return token, run(create)
    except StoreUnavailable:
        forget_chats(token)
        raise


def rename_application(access_token: str, name: str, if_match: str | None) -> bytes | None:
    """The application under its new name as JSON; None when there is none."""
    changed = run(
        lambda connection: _change(
            connection, (LOCK_APPLICATION, (name, access_token)), CHANGE_APPLICATION, name, if_match
        )
    )
    return changed and changed[0]


def edit_message(
    access_token: str,
    chat_number: int,
    number: int,
    body: str,
    if_match: str | None,
    request_id: str = "",
) -> bytes | None:
    """The message with its new body as JSON, its copy in the index on the way; or None."""
    lock = (LOCK_MESSAGE, (body, str(chat_number), str(number), access_token))
    changed = run(lambda connection: _change(connection, lock, CHANGE_MESSAGE, body, if_match))
    if changed and changed[1]:
        wake_indexer(request_id)
    return changed and changed[0]


def _change(
    connection: Connection,
    lock: tuple[str, tuple[Any, ...]],
    change: str,
    text: str,
    if_match: str | None,
) -> tuple[bytes, bool] | None:
    """A row's text replaced under its lock, and whether that changed anything.

    Raises PreconditionFailed when `if_match` names another state of the row.
    """
    with connection.transaction():
        row = connection.execute(*lock).fetchone()
        if row is None:
            return None
        row_id, same, current = row
        if not if_match_holds(if_match, current):
            raise PreconditionFailed
        if same:
            return current, False
        (changed,) = connection.execute(change, (text, row_id)).fetchone() or (current,)
        return changed, True
