"""Rows put into PostgreSQL directly, where a test needs many or a special one."""

from typing import Any

import psycopg

from tests.integration.accepting import query

Database = psycopg.Connection[Any]


def token_of(application: str) -> str:
    return application.rpartition("/")[2]


def add_chats(database: Database, application: str, count: int) -> None:
    """Store chats 1 to `count` of an application."""
    database.execute(
        """
        WITH owner AS (
            UPDATE applications SET chat_count = %(count)s WHERE access_token = %(token)s
            RETURNING id
        )
        INSERT INTO chats (application_id, number)
        SELECT owner.id, number FROM owner, generate_series(1, %(count)s) AS number
        """,
        {"token": token_of(application), "count": count},
    )


def add_messages(
    database: Database, application: str, count: int, body: str = "message", chat: int = 1
) -> str:
    """Store messages 1 to `count` of a chat that is there; returns the chat's path."""
    database.execute(
        """
        WITH chat AS (
            UPDATE chats SET message_count = %(count)s
            FROM applications
            WHERE applications.id = chats.application_id AND access_token = %(token)s
              AND chats.number = %(chat)s
            RETURNING chats.id
        )
        INSERT INTO messages (chat_id, number, body)
        SELECT chat.id, number, %(body)s FROM chat, generate_series(1, %(count)s) AS number
        """,
        {"token": token_of(application), "count": count, "body": body, "chat": chat},
    )
    database.execute(
        """
        UPDATE chats SET highest_number = messages.number, last_message_id = messages.id
        FROM applications, messages
        WHERE applications.id = application_id AND access_token = %s AND chats.number = %s
          AND chat_id = chats.id AND messages.number = message_count
        """,
        (token_of(application), chat),
    )
    return f"{application}/chats/{chat}"


def add_chat_of(database: Database, application: str, count: int, body: str = "message") -> str:
    """Store chat 1 with messages 1 to `count`; returns the chat's path."""
    add_chats(database, application, 1)
    return add_messages(database, application, count, body)


def add_attributes(database: Database) -> None:
    """Set every combination of attributes in messages 3 to 7 of each chat, and in chat 1."""
    database.execute(
        r"""
        UPDATE messages SET
            sender = CASE WHEN number IN (3, 4, 7) THEN 'Ann "é" \' END,
            metadata = CASE WHEN number IN (3, 5) THEN '{"a":null,"b":[1.50,"\u2028"]}'::json END,
            reply_to = CASE WHEN number IN (3, 6, 7) THEN 1 END
        """
    )
    database.execute("""UPDATE chats SET name = 'A chat', metadata = '{"a":1}' WHERE number = 1""")


def lock_waits(database: str | Database) -> int:
    """Return how many connections of a database wait for a lock; given its URL, as of now.

    In a transaction PostgreSQL keeps repeating what its first look has seen.
    """
    waiting = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    count: int = query(database, waiting)[0][0]
    return count
