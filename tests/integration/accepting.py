"""What the tests of the persist path have in common: entries in, rows out."""

from collections.abc import Mapping
from typing import Any

import psycopg
import redis

from contract.entries import FIELDS
from contract.keys import ACCEPTED

TOKEN = "AbcdefghijklmnopqrstuvwX"
Row = tuple[Any, ...]
Database = str | psycopg.Connection[Any]


def make_application(database: Database, token: str = TOKEN) -> None:
    query(
        database,
        "INSERT INTO applications (access_token, name) VALUES (%s, 'tests')",
        token,
    )


def accept(
    client: redis.Redis,
    number: int | str,
    body: str | bytes = "hello",
    *,
    chat: int | str = 1,
    token: str = TOKEN,
    entry_id: str = "*",
    request_id: str = "r",
) -> str:
    """Put an entry into the stream as numbers.lua does; `chat=""` creates a chat."""
    values = (token, str(chat), str(number), body, request_id)
    return accept_raw(client, dict(zip(FIELDS, values, strict=True)), entry_id)


def accept_many(client: redis.Redis, first: int, count: int) -> None:
    """Put messages into the stream, quickly, spread over ten chats."""
    with client.pipeline(transaction=False) as pipeline:
        for position in range(first, first + count):
            number, chat = divmod(position, 10)
            values = (TOKEN, str(chat + 1), str(number + 1), f"body {position}", "r")
            pipeline.xadd(ACCEPTED, dict(zip(FIELDS, values, strict=True)))
        pipeline.execute()


def accept_raw(client: redis.Redis, fields: Mapping[str, str | bytes], entry_id: str = "*") -> str:
    added: bytes = client.xadd(ACCEPTED, dict(fields), id=entry_id)
    return added.decode()


def query(database: Database, sql: str, *parameters: object) -> list[Row]:
    """Execute a statement in a database, on a connection to it if that is what is given."""
    if isinstance(database, str):
        with psycopg.connect(database, autocommit=True) as connection:
            return query(connection, sql, *parameters)
    cursor = database.execute(sql, parameters or None)
    return cursor.fetchall() if cursor.description else []


def bodies(database_url: str, chat: int = 1) -> list[tuple[int, str]]:
    """The messages of a chat, by number."""
    return query(
        database_url,
        "SELECT m.number, m.body FROM messages m JOIN chats c ON c.id = m.chat_id "
        "WHERE c.number = %s ORDER BY m.number",
        chat,
    )


def counts_that_differ(database: Database) -> list[Row]:
    """Chats and applications whose count is not the number of their rows."""
    return query(
        database,
        "SELECT 'chat', c.number, c.message_count FROM chats c WHERE c.message_count <> "
        "(SELECT count(*) FROM messages m WHERE m.chat_id = c.id) "
        "UNION ALL SELECT 'application', a.id, a.chat_count FROM applications a "
        "WHERE a.chat_count <> (SELECT count(*) FROM chats c WHERE c.application_id = a.id)",
    )
