"""Blocks: how PostgreSQL finds parts of any length inside the words of a long chat.

64 messages in a row share one row of `search_blocks` with every gram that they
hold, in a GIN index: a third of the entries that an index of every message
would have, and parts of one or two letters can be looked up as well. Only
chats that are long have blocks, and the newest messages of a chat have none
yet: reading those through is faster than any index.

A row may promise grams that its messages no longer hold, since candidates are
read anyway. It must never lack one.
"""

from collections import defaultdict
from collections.abc import Sequence

import psycopg

from crud_service.search.folding import RUN_SEPARATOR
from crud_service.search.grams import all_grams

BLOCK = 64
# When this many blocks of a chat are not covered, all but the newest few become so.
UNCOVERED_MAX = 24
UNCOVERED_MIN = 8
# A block of books instead of messages would have millions of grams: it gets the
# empty one, which every search of the chat looks up as well, and is read through.
MAX_CHARACTERS = 200_000
ANY_GRAM = ""

Row = tuple[int, int, str]  # chat id, number, marked text

LOCK_CHATS = """
INSERT INTO search_chats (chat_id, blocks) SELECT chat_id, 0 FROM unnest(%s::bigint[]) AS chat_id
ON CONFLICT DO NOTHING
"""
FIND_CHATS = """
SELECT chat_id, blocks FROM search_chats WHERE chat_id = ANY (%s) ORDER BY chat_id
FOR NO KEY UPDATE
"""
READ_BLOCKS = """
SELECT (number - 1) / 64, string_agg(marked, E'\\n') FROM search_texts
WHERE chat_id = %s AND number > %s AND number <= %s GROUP BY 1
"""
INSERT_BLOCKS = """
INSERT INTO search_blocks (chat_id, block, keys)
SELECT chat_id, block, string_to_array(keys, E'\\n')
FROM unnest(%s::bigint[], %s::bigint[], %s::text[]) AS rows (chat_id, block, keys)
"""


def block_of(number: int) -> int:
    """The block that a message belongs to, counted from 0."""
    return (number - 1) // BLOCK


def cover_rows(connection: psycopg.Connection, rows: Sequence[Row]) -> None:
    """Keep the blocks true after texts were written."""
    highest: dict[int, int] = {}
    for chat_id, number, _marked in rows:
        highest[chat_id] = max(number, highest.get(chat_id, 0))
    covered: dict[int, int] = dict(connection.execute(FIND_CHATS, (list(highest),)).fetchall())
    add_late_rows(connection, [row for row in rows if block_of(row[1]) < covered.get(row[0], 0)])
    for chat_id, number in highest.items():
        blocks = covered.get(chat_id, 0)
        if block_of(number) - blocks >= UNCOVERED_MAX:
            cover_chat(connection, chat_id, blocks, block_of(number) - UNCOVERED_MIN)


def add_late_rows(connection: psycopg.Connection, rows: Sequence[Row]) -> None:
    """Add the grams of messages that came, or changed, after their block was covered."""
    if rows:
        insert_blocks(connection, [(chat, block_of(number), text) for chat, number, text in rows])


def cover_chat(connection: psycopg.Connection, chat_id: int, start: int, end: int) -> None:
    """Cover a chat's blocks from `start` to before `end`."""
    bounds = (chat_id, start * BLOCK, end * BLOCK)
    texts = connection.execute(READ_BLOCKS, bounds).fetchall()
    insert_blocks(connection, [(chat_id, block, text) for block, text in texts])
    connection.execute(
        "INSERT INTO search_chats (chat_id, blocks) VALUES (%s, %s)"
        " ON CONFLICT (chat_id) DO UPDATE SET blocks = excluded.blocks",
        (chat_id, end),
    )


def insert_blocks(connection: psycopg.Connection, rows: Sequence[Row]) -> None:
    """Write rows of blocks: chat id, block, marked texts."""
    keys: dict[str, list[object]] = defaultdict(list)
    for chat_id, block, text in rows:
        keys["chats"].append(chat_id)
        keys["blocks"].append(block)
        grams = all_grams(text) if len(text) <= MAX_CHARACTERS else {ANY_GRAM}
        keys["keys"].append(RUN_SEPARATOR.join(gram_keys(chat_id, grams)))
    connection.execute(INSERT_BLOCKS, (keys["chats"], keys["blocks"], keys["keys"]))


def gram_keys(chat_id: int, grams: set[str] | list[str]) -> list[str]:
    """Grams as the keys of one chat."""
    prefix = f"{chat_id}:"
    return [prefix + gram for gram in grams]
