"""The rows that reads are measured on, kept between runs until they are edited."""

import psycopg

from bench.dataset import APPLICATION_TOKEN
from bench.scenario import Run
from bench.stack import BenchStack
from local_stack.applications import migrate
from local_stack.stores.postgres import create_database

LARGE_CHAT, LONG_CHAT, LIST_CHAT = 1, 2, 3
SMALL_MESSAGES = 10_000

ADD_CHAT = """
INSERT INTO chats (application_id, number, message_count)
SELECT id, %(chat)s, %(messages)s FROM applications WHERE access_token = %(token)s
"""
ADD_MESSAGES = """
INSERT INTO messages (chat_id, number, body)
SELECT c.id, n, 'Message ' || n || ' says ' || md5(n::text) || ', and ' || md5((-n)::text)
FROM applications a JOIN chats c ON c.application_id = a.id AND c.number = %(chat)s,
     generate_series(1, %(messages)s) AS n
WHERE a.access_token = %(token)s
"""


def fill_large(run: Run, stack: BenchStack) -> None:
    """The stack's own database: a large chat, one of a long list, one of a list."""
    sizes = run.sizes
    chats = {LARGE_CHAT: sizes.messages, LONG_CHAT: sizes.long_list, LIST_CHAT: sizes.list}
    fill(stack.environment["DATABASE_URL"], chats)


def fill_small(run: Run, stack: BenchStack) -> str:
    """A database of its own with few messages; returns its URL."""
    url = stack.environment["DATABASE_URL"].rpartition("/")[0] + "/small"
    create_database(url)
    migrate(stack.layout, {**stack.environment, "DATABASE_URL": url})
    fill(url, {LARGE_CHAT: min(SMALL_MESSAGES, run.sizes.messages // 10)})
    return url


def fill(url: str, chats: dict[int, int]) -> None:
    """An application with chats of so many messages, unless a database has exactly that."""
    with psycopg.connect(url, autocommit=True) as connection:
        if stored(connection) == chats:
            return
        connection.execute("TRUNCATE applications, chats, messages RESTART IDENTITY CASCADE")
        with connection.transaction():
            # Nothing is indexed here: the feed of the indexer would only be in the way.
            connection.execute("SET LOCAL session_replication_role = replica")
            connection.execute(
                "INSERT INTO applications (access_token, name, chat_count) VALUES (%s, %s, %s)",
                (APPLICATION_TOKEN, "bench", len(chats)),
            )
            for chat, messages in chats.items():
                values = {"chat": chat, "messages": messages, "token": APPLICATION_TOKEN}
                connection.execute(ADD_CHAT, values)
                connection.execute(ADD_MESSAGES, values)
        connection.execute("VACUUM (FREEZE, ANALYZE) messages")
        connection.execute("CHECKPOINT")


def stored(connection: psycopg.Connection) -> dict[int, int]:
    """How many messages each chat of the application has that nobody has edited.

    An edited row is in another block than its neighbours, and a page that has some costs more.
    """
    rows = connection.execute(
        "SELECT c.number, (SELECT count(*) FROM messages m WHERE m.chat_id = c.id)"
        " FROM chats c JOIN applications a ON a.id = c.application_id"
        " WHERE a.access_token = %s AND c.changes = 0",
        (APPLICATION_TOKEN,),
    )
    return dict(rows.fetchall())
