"""What the API writes: a new application, a new name, a new body.

Each is one transaction that happens once, even when the connection dies behind
its COMMIT (see `transactions`).
"""

import secrets
import string
from typing import Any, NamedTuple

from crud_service.api.etags import UNCONDITIONAL, Preconditions
from crud_service.chat.reading import APPLICATION_JSON, MESSAGE_JSON
from crud_service.chat.start_chats import forget_chats, start_chats
from crud_service.search.index.doorbell import wake_indexer
from crud_service.stores.database import Connection
from crud_service.stores.transactions import Written, change
from web.problems import StoreUnavailable

_TRANSACTION = "pg_current_xact_id()::text"
ALPHABET = string.ascii_letters + string.digits
TOKEN_LENGTH = 24

# Two changes within a millisecond, or a clock that was set back, still move updated_at.
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

    def create(connection: Connection) -> Written[bytes]:
        return Written(*one_row(connection, CREATE, (token, name)))

    try:
        return token, change(create)
    except StoreUnavailable:
        forget_chats(token)
        raise


def rename_application(
    access_token: str, name: str, preconditions: Preconditions = UNCONDITIONAL
) -> bytes | None:
    """The application under its new name as JSON; None when there is none."""
    lock = (LOCK_APPLICATION, (name, access_token))
    renamed = change(lambda it: _replace(it, lock, CHANGE_APPLICATION, name, preconditions))
    return renamed and renamed.representation


def edit_message(
    access_token: str,
    chat_number: int,
    number: int,
    body: str,
    preconditions: Preconditions = UNCONDITIONAL,
    request_id: str = "",
) -> bytes | None:
    """The message with its new body as JSON, its copy in the index on the way; or None."""
    lock = (LOCK_MESSAGE, (body, str(chat_number), str(number), access_token))
    edited = change(lambda it: _replace(it, lock, CHANGE_MESSAGE, body, preconditions))
    if edited and edited.changed:
        wake_indexer(request_id)
    return edited and edited.representation


class Replaced(NamedTuple):
    """A row as JSON behind a change, and whether anything was changed."""

    representation: bytes
    changed: bool


def _replace(
    connection: Connection,
    lock: tuple[str, tuple[Any, ...]],
    update: str,
    text: str,
    preconditions: Preconditions,
) -> Written[Replaced | None]:
    """Replace a row's text under its lock; the result is None when there is no such row.

    Raises PreconditionFailed when the row is in a state that must not be changed.
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
    """The row that a statement always has."""
    row = connection.execute(sql, parameters).fetchone()
    assert row is not None, "a statement that returns what it wrote"  # noqa: S101 - for mypy
    return row
