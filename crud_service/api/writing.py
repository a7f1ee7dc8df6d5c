"""The API's writes: create an application, rename it, change a chat, edit a message.

Each is one transaction that is applied exactly once, even if the connection dies
after its COMMIT was sent (see `transactions`).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from psycopg.abc import Params

from crud_service.api.etags import Preconditions
from crud_service.chat.access_tokens import new_access_token
from crud_service.chat.announcements import announce
from crud_service.chat.own_limits import LimitChange, change_limit, copy_limit
from crud_service.chat.reading import APPLICATION_JSON, CHAT_JSON, MESSAGE_JSON
from crud_service.chat.start_chats import forget_chats, start_chats
from crud_service.search.index.doorbell import wake_indexer
from crud_service.stores.database import Connection
from crud_service.stores.transactions import TRANSACTION, Written, change
from web.problems import MessageDeleted, StoreUnavailable

# Keeps updated_at increasing: two changes within a millisecond, a clock that was set back.
NEXT_MOMENT = "greatest(clock_timestamp(), x.updated_at + interval '1 millisecond')"

CREATE = f"""
WITH x AS (
    INSERT INTO applications (access_token, name) VALUES (%s, %s) RETURNING *
) SELECT {APPLICATION_JSON}, {TRANSACTION} FROM x
"""
# Followers of the application learn of a changed chat by the number of its last change.
COUNT_CHANGE = ", changes = x.changes + 1"
# The index follows versions.
NEXT_VERSION = ", version = x.version + (x.body <> %(body)s)::int"
_TYPES = {"metadata": "json"}

# New values by column.
Changes = Mapping[str, str | None]


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


def rename_application(
    access_token: str, name: str, preconditions: Preconditions, limit: LimitChange | None = None
) -> bytes | None:
    """Rename an application, and change its own limit; return its JSON, None if it does not exist.

    Raises PreconditionFailed; neither is changed then.
    """
    row = application_row(access_token)

    def write(connection: Connection) -> Written[Changed | None]:
        limited = limit and change_limit(connection, access_token, limit)
        renamed = _set(connection, row, {"name": name}, preconditions)
        return renamed._replace(transaction_id=renamed.transaction_id or limited)

    renamed = change(write)
    if limit is not None:
        copy_limit(access_token)
    return renamed and renamed.representation


def change_chat(
    access_token: str, number: int, changes: Changes, preconditions: Preconditions
) -> bytes | None:
    """Set a chat's name or metadata and announce it; return its JSON, None if it is missing.

    Raises PreconditionFailed.
    """
    row = chat_row(access_token, number)
    changed = change(lambda it: _set(it, row, changes, preconditions))
    if changed and changed.is_new:
        announce(access_token, number)
    return changed and changed.representation


def edit_message(
    access_token: str,
    chat_number: int,
    number: int,
    changes: Changes,
    preconditions: Preconditions,
    request_id: str = "",
) -> bytes | None:
    """Set a message's body or metadata and announce it; return its JSON, None if it is missing.

    `request_id` is for the indexer's log. Raises PreconditionFailed, and MessageDeleted for a
    tombstone.
    """
    row = message_row(access_token, chat_number, number)
    edited = change(lambda it: _set(it, row, changes, preconditions))
    if edited and edited.is_new:
        if "body" in changes:
            wake_indexer(request_id)
        announce(access_token, chat_number)
    return edited and edited.representation


class Row(NamedTuple):
    """A row x to change: where it is, how it is represented, and what else a change of it sets.

    `others` are the tables besides its own that `condition` finds it by. `place` is the condition
    by which it is updated once `found` has locked it: the column `parent`, and what is unique in
    it.
    """

    table: str
    others: Sequence[str]
    condition: str
    json: str
    key: Mapping[str, str]
    parent: str
    place: str
    is_tombstone: str = "false"
    also: Callable[[Changes], str] = lambda changes: ""


def application_row(access_token: str) -> Row:
    key = {"access_token": access_token}
    condition = "x.access_token = %(access_token)s"
    return Row("applications", (), condition, APPLICATION_JSON, key, "x.id", "x.id = found.parent")


def chat_row(access_token: str, number: int) -> Row:
    condition = """a.access_token = %(access_token)s
        AND x.application_id = a.id AND x.number = %(chat_number)s::bigint
        AND x.deleted_at IS NULL"""
    key = {"access_token": access_token, "chat_number": str(number)}
    place = "x.application_id = found.parent AND x.number = %(chat_number)s::bigint"
    return Row(
        "chats",
        ("applications a",),
        condition,
        CHAT_JSON,
        key,
        "x.application_id",
        place,
        also=lambda changes: COUNT_CHANGE,
    )


def message_row(access_token: str, chat_number: int, number: int) -> Row:
    condition = """a.access_token = %(access_token)s
        AND c.application_id = a.id AND c.number = %(chat_number)s::bigint
        AND c.deleted_at IS NULL
        AND x.chat_id = c.id AND x.number = %(number)s::bigint"""
    key = {"access_token": access_token, "chat_number": str(chat_number), "number": str(number)}
    return Row(
        "messages",
        ("applications a", "chats c"),
        condition,
        MESSAGE_JSON,
        key,
        "x.chat_id",
        "x.chat_id = found.parent AND x.number = %(number)s::bigint",
        "x.deleted_at IS NOT NULL",
        lambda changes: NEXT_VERSION if "body" in changes else "",
    )


def update_statement(row: Row, changes: Changes) -> str:
    """Return a statement that sets columns of a row unless they are as wanted.

    It returns the row's JSON and the transaction's id, and no row if there is nothing to set.
    """
    others = f"FROM {', '.join(row.others)}" if row.others else ""
    return f"""
    UPDATE {row.table} x SET {_set_clause(row, changes)} {others}
    WHERE {row.condition} AND NOT ({row.is_tombstone} OR {_is_same(changes)})
    RETURNING {row.json}, {TRANSACTION}"""


def change_statement(row: Row, changes: Changes) -> str:
    """Return a statement that locks a row, and sets columns of it unless they are as wanted.

    It returns the row's JSON before, whether that is a tombstone, the JSON after, and the
    transaction's id; the last two are null where nothing is set. For PostgreSQL it is half as much
    work again as `update_statement`.
    """
    tables = ", ".join([*row.others, f"{row.table} x"])
    return f"""
    WITH found AS (
        SELECT {row.parent} AS parent, {row.json} AS json, {row.is_tombstone} AS is_tombstone,
            {_is_same(changes)} AS is_same
        FROM {tables} WHERE {row.condition} FOR NO KEY UPDATE OF x
    ), x AS (
        UPDATE {row.table} x SET {_set_clause(row, changes)}
        FROM found WHERE {row.place} AND NOT (found.is_tombstone OR found.is_same)
        RETURNING x.*
    ) SELECT json, is_tombstone, (SELECT {row.json} FROM x), (SELECT {TRANSACTION} FROM x)
    FROM found"""


def _set_clause(row: Row, changes: Changes) -> str:
    columns = [f"{name} = %({name})s::{_TYPES.get(name, 'text')}" for name in changes]
    return f"{', '.join(columns)}{row.also(changes)}, updated_at = {NEXT_MOMENT}"


def _is_same(changes: Changes) -> str:
    same = [f"x.{column}::text IS NOT DISTINCT FROM %({column})s::text" for column in changes]
    return f"({' AND '.join(same)})"


class Changed(NamedTuple):
    """A row as JSON after a change, and whether anything of it is new."""

    representation: bytes
    is_new: bool


def _set(
    connection: Connection, row: Row, changes: Changes, preconditions: Preconditions
) -> Written[Changed | None]:
    """Set columns of a row under its lock; the result is None if there is no such row.

    Without preconditions its state before matters only if nothing was set. Raises
    PreconditionFailed if that state does not satisfy the preconditions, and MessageDeleted if it is
    a tombstone: then the transaction is rolled back.
    """
    parameters = {**row.key, **changes}
    if not preconditions.are_any:
        updated = connection.execute(update_statement(row, changes), parameters).fetchone()
        if updated is not None:
            representation, transaction_id = updated
            return Written(Changed(representation, is_new=True), transaction_id)
    found = connection.execute(change_statement(row, changes), parameters).fetchone()
    if found is None:
        return Written(None, None)
    before, is_tombstone, after, transaction_id = found
    if is_tombstone:
        raise MessageDeleted
    preconditions.check(before)
    if after is None:
        return Written(Changed(before, is_new=False), None)
    return Written(Changed(after, is_new=True), transaction_id)


def one_row(connection: Connection, sql: str, parameters: Params) -> tuple[Any, ...]:
    """Execute a statement that always returns a row, and return it."""
    row = connection.execute(sql, parameters).fetchone()
    assert row is not None, "a statement that returns what it wrote"  # noqa: S101 - for mypy
    return row
