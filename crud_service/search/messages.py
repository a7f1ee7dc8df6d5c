"""What a search needs of the stored rows: the chat it is in, and the messages it found."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from crud_service.chat.reading import MESSAGE_JSON
from crud_service.search.elasticsearch_index import INDEX_FORMAT

Connection = psycopg.Connection[tuple[Any, ...]]

# Elasticsearch can be asked when it has an index that had every change, and nothing of
# this chat has waited to get there for longer than a searcher should have to.
FIND_CHAT = """
SELECT chat.id, coalesce(covered.blocks, 0), NOT EXISTS (
    SELECT FROM search_queue AS waiting
    WHERE waiting.chat_id = chat.id AND waiting.changed_at < now() - interval '1500 milliseconds'
) AND EXISTS (SELECT FROM search_state WHERE index_format = %s)
FROM applications AS application
JOIN chats AS chat ON chat.application_id = application.id AND chat.number = %s
LEFT JOIN search_chats AS covered ON covered.chat_id = chat.id
WHERE application.access_token = %s
"""

_HITS = """
FROM unnest(%s::bigint[]) WITH ORDINALITY AS hit (number, position)
JOIN messages x ON x.chat_id = %s AND x.number = hit.number
"""
FIND_MESSAGES = f"SELECT string_agg({MESSAGE_JSON}, ',' ORDER BY hit.position) {_HITS}"
FIND_EACH_MESSAGE = f"SELECT {MESSAGE_JSON} {_HITS} ORDER BY hit.position"


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


def find_messages(connection: Connection, chat_id: int, numbers: Sequence[int]) -> bytes:
    """Messages as a JSON array in the order asked for; absent ones are left out.

    The connection is one of the API's path, where text comes as bytes.
    """
    if not numbers:
        return b"[]"
    row = connection.execute(FIND_MESSAGES, (_array(numbers), chat_id)).fetchone()
    return b"[%s]" % ((row and row[0]) or b"")


def each_message(connection: Connection, chat_id: int, numbers: Sequence[int]) -> Iterator[bytes]:
    """The same messages one by one, each as a JSON object."""
    if numbers:
        for row in connection.execute(FIND_EACH_MESSAGE, (_array(numbers), chat_id)):
            yield row[0]


def _array(numbers: Sequence[int]) -> str:
    """Numbers as PostgreSQL writes an array.

    psycopg's way from a list of Python's takes longer than finding a message.
    """
    return f"{{{','.join(map(str, numbers))}}}"
