"""What a search needs of the stored rows: the chat it is in, and the messages it found."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from crud_service.search.start_over import INDEX_FORMAT

Connection = psycopg.Connection[tuple[Any, ...]]

# Elasticsearch can be asked when it has an index that had every change, and
# nothing has waited to get there for longer than a searcher should have to.
FIND_CHAT = """
SELECT chat.id, coalesce(covered.blocks, 0), NOT EXISTS (
    SELECT FROM (SELECT changed_at FROM search_queue ORDER BY id LIMIT 1) AS oldest
    WHERE changed_at < now() - interval '1500 milliseconds'
) AND EXISTS (SELECT FROM search_state WHERE index_format = %s)
FROM applications AS application
JOIN chats AS chat ON chat.application_id = application.id AND chat.number = %s
LEFT JOIN search_chats AS covered ON covered.chat_id = chat.id
WHERE application.access_token = %s
"""

FIND_MESSAGES = """
SELECT number, body,
       to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
       to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
FROM messages WHERE chat_id = %s AND number = ANY (%s)
"""


@dataclass(frozen=True, slots=True)
class SearchedChat:
    """A chat, how many of its blocks are covered, and whether Elasticsearch is up to date."""

    chat_id: int
    blocks: int
    index_is_fresh: bool


def find_chat(connection: Connection, access_token: str, number: int) -> SearchedChat | None:
    """The chat of a path, if there is one."""
    row = connection.execute(FIND_CHAT, (INDEX_FORMAT, number, access_token)).fetchone()
    return SearchedChat(*row) if row else None


def find_messages(
    connection: Connection, chat_id: int, numbers: Sequence[int]
) -> list[dict[str, Any]]:
    """Messages in the shape of the API and in the order asked for; absent ones are left out."""
    found = {}
    for number, *texts in connection.execute(FIND_MESSAGES, (chat_id, list(numbers))):
        body, created_at, updated_at = (to_str(text) for text in texts)
        found[number] = {
            "number": number,
            "body": body,
            "created_at": created_at,
            "updated_at": updated_at,
        }
    return [found[number] for number in numbers if number in found]


def to_str(text: bytes | str) -> str:
    """Text that a connection of the API's path gives as bytes."""
    return text.decode() if isinstance(text, bytes) else text
