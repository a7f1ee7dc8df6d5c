"""The API's writes: create an application, rename it, edit a message.

Each is one transaction that is applied exactly once, even if the connection dies
after its COMMIT was sent (see `transactions`).
"""

from typing import Any, NamedTuple

from crud_service.api.etags import Preconditions
from crud_service.chat.access_tokens import new_access_token
from crud_service.chat.announcements import announce
from crud_service.chat.reading import APPLICATION_JSON, MESSAGE_JSON
from crud_service.chat.start_chats import forget_chats, start_chats
from crud_service.search.index.doorbell import wake_indexer
from crud_service.stores.database import Connection
from crud_service.stores.transactions import Written, change
from web.problems import StoreUnavailable

_TRANSACTION = "pg_current_xact_id()::text"

# Keeps updated_at increasing: two changes within a millisecond, a clock that was set back.
_NEXT_MOMENT = "greatest(clock_timestamp(), x.updated_at + interval '1 millisecond')"

CREATE = f"""
WITH x AS (
    INSERT INTO applications (access_token, name) VALUES (%s, %s) RETURNING *
) SELECT {APPLICATION_JSON}, {_TRANSACTION} FROM x
"""
LOCK_APPLICATION = f"""
SELECT x.id, x.name = %s, {APPLICATION_JSON} FROM applications x
WHERE x.access_token = %s FOR NO KEY UPDATE
"""
CHANGE_APPLICATION = f"""
WITH x AS (
    UPDATE applications x SET name = %s, updated_at = {_NEXT_MOMENT} WHERE x.id = %s RETURNING *
) SELECT {APPLICATION_JSON}, {_TRANSACTION} FROM x
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
) SELECT {MESSAGE_JSON}, {_TRANSACTION} FROM x
"""


def create_application(name: str) -> tuple[str, bytes]:
    """Create an application; return its token and its JSON.

    Its chat sequence is started once, before the row is visible, so no number of it
    can have been handed out yet.
    """
    token = new_access_token()
    start_chats(token)

    def create(connection: Connection) -> Written[bytes]:
        return Written(*one_row(connection, CREATE, (token, name)))

    try:
        return token, change(create)
    except StoreUnavailable:
        forget_chats(token)
        raise


def rename_application(access_token: str, name: str, preconditions: Preconditions) -> bytes | None:
    """Rename an application; return its JSON, or None if it does not exist."""
    lock = (LOCK_APPLICATION, (name, access_token))
    renamed = change(lambda it: _replace(it, lock, CHANGE_APPLICATION, name, preconditions))
    return renamed and renamed.representation


def edit_message(
    access_token: str,
    chat_number: int,
    number: int,
    body: str,
    preconditions: Preconditions,
    request_id: str = "",
) -> bytes | None:
    """Replace a message's body and announce it; return its JSON, or None if it is missing."""
    lock = (LOCK_MESSAGE, (body, str(chat_number), str(number), access_token))
    edited = change(lambda it: _replace(it, lock, CHANGE_MESSAGE, body, preconditions))
    if edited and edited.changed:
        wake_indexer(request_id)
        announce(access_token, chat_number)
    return edited and edited.representation


class Replaced(NamedTuple):
    """A row as JSON after an update, and whether it was changed."""

    representation: bytes
    changed: bool


def _replace(
    connection: Connection,
    lock: tuple[str, tuple[Any, ...]],
    update: str,
    text: str,
    preconditions: Preconditions,
) -> Written[Replaced | None]:
    """Replace a row's text under a row lock; the result is None if there is no such row.

    Raises PreconditionFailed if the row's current state does not satisfy the preconditions.
    """
    row = connection.execute(*lock).fetchone()
    if row is None:
        return Written(None, None)
    row_id, same, current = row
    preconditions.check(current)
    if same:
        return Written(Replaced(current, changed=False), None)
    changed, transaction_id = one_row(connection, update, (text, row_id))
    return Written(Replaced(changed, changed=True), transaction_id)


def one_row(connection: Connection, sql: str, parameters: tuple[Any, ...]) -> tuple[Any, ...]:
    """Execute a statement that always returns a row, and return it."""
    row = connection.execute(sql, parameters).fetchone()
    assert row is not None, "a statement that returns what it wrote"  # noqa: S101 - for mypy
    return row
