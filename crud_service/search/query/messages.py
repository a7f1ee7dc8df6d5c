"""What a search reads from the stored rows: the chat it searches, and the messages it found."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from crud_service.chat.list_queries import CHUNK_BYTES
from crud_service.chat.reading import MESSAGE_BYTES, MESSAGE_JSON
from crud_service.search.index.elasticsearch_index import INDEX_FORMAT
from crud_service.stores.database import Connection

# Elasticsearch can be queried if its index has followed every change, and if no change of
# this chat has waited to be indexed for longer than the interval below. Every change is
# later than `-infinity`: that is the condition of the partial index.
FIND_CHAT = """
SELECT chat.id, coalesce(covered.blocks, 0), NOT EXISTS (
    SELECT FROM search_queue AS waiting
    WHERE waiting.chat_id = chat.id AND waiting.changed_at > '-infinity'
      AND waiting.changed_at < now() - interval '1500 milliseconds'
) AND EXISTS (SELECT FROM search_state WHERE index_format = %s)
FROM applications AS application
JOIN chats AS chat
  ON chat.application_id = application.id AND chat.number = %s AND chat.deleted_at IS NULL
LEFT JOIN search_chats AS covered ON covered.chat_id = chat.id
WHERE application.access_token = %s
"""

# The messages found, up to and including the one at which their texts reach CHUNK_BYTES. Returns
# the position of the last one, whether CHUNK_BYTES was reached, and the messages, one per line
# (their JSON has no line breaks).
FIND_PIECE = f"""
SELECT max(x.position), sum({MESSAGE_BYTES}) >= {CHUNK_BYTES},
    string_agg({MESSAGE_JSON}, E'\\n' ORDER BY x.position)
FROM (
    SELECT x.*, hit.position,
        sum({MESSAGE_BYTES}) OVER (ORDER BY hit.position) - {MESSAGE_BYTES} AS bytes_before
    FROM unnest(%s::bigint[]) WITH ORDINALITY AS hit (number, position)
    JOIN messages x ON x.chat_id = %s AND x.number = hit.number AND x.deleted_at IS NULL
) x WHERE x.bytes_before < {CHUNK_BYTES}
"""


@dataclass(frozen=True, slots=True)
class SearchedChat:
    """A chat, the number of its covered blocks, and whether Elasticsearch is up to date."""

    chat_id: int
    blocks: int
    index_is_fresh: bool


def find_chat(connection: Connection, access_token: str, number: int) -> SearchedChat | None:
    """Return the chat to search in, by its number; None if it is not stored or deleted."""
    row = connection.execute(FIND_CHAT, (INDEX_FORMAT, number, access_token)).fetchone()
    return SearchedChat(*row) if row else None


class Piece(NamedTuple):
    """Some messages of a page, one per line; `taken` hits of the page are covered so far."""

    messages: bytes
    taken: int


def each_piece(connection: Connection, chat_id: int, numbers: Sequence[int]) -> Iterator[Piece]:
    """Yield messages of a chat as JSON, in pieces and in the given order, without missing ones.

    The connection must be one of the API's, which return text as bytes.
    """
    taken, is_more = 0, bool(numbers)
    while is_more:
        row = connection.execute(FIND_PIECE, (_array(numbers[taken:]), chat_id)).fetchone()
        position, is_more, messages = row or (None, False, None)
        if messages is None:
            break
        taken += position
        yield Piece(messages, taken if is_more else len(numbers))


def _array(numbers: Sequence[int]) -> str:
    """Format numbers as a PostgreSQL array literal.

    psycopg's own adaptation of a Python list takes longer than finding a message.
    """
    return f"{{{','.join(map(str, numbers))}}}"
