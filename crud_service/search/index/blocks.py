"""Blocks: how PostgreSQL finds parts of any length inside the words of a long chat.

64 consecutive messages share one row of `search_blocks`, which holds all of their grams
in a GIN index. It has a third of the entries of an index of single messages, and parts of
one or two letters can be looked up as well. Only long chats have blocks, and the
newest messages of a chat have none yet: scanning those is faster than any index.

A row may list grams that its messages no longer contain, because candidates are
read anyway. It must never lack one. So a process that writes the texts or blocks of a
chat first locks the chat's row in `search_chats` (of several chats, in the order of their
ids). Grams are cut before that: under the lock, only the texts that changed since they
were read (their `xmin` differs) are cut again.
"""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from crud_service.search.text.folding import RUN_SEPARATOR
from crud_service.search.text.grams import all_grams
from crud_service.stores.database import Connection

BLOCK = 64
# A block of very long messages would have millions of grams. It gets only the empty
# gram, which every search of the chat also looks up, so the block is always scanned.
MAX_BYTES = 400_000
ANY_GRAM = ""
# The limits of what is read, cut and written at a time.
PIECE_BLOCKS = 16
PIECE_BYTES = 1_000_000
# Limited, so that a chat with many blocks to cover does not delay the others.
PIECES_AT_ONCE = 4

# A chat that was erased keeps no row.
INSERT_CHATS = """
INSERT INTO search_chats (chat_id, blocks)
SELECT id, 0 FROM chats WHERE id = ANY (%b::bigint[]) ORDER BY id
ON CONFLICT DO NOTHING
"""
# The insertion may have waited for the transaction that erased a chat which it had seen before.
FORGET_ERASED_CHATS = """
DELETE FROM search_chats WHERE chat_id = ANY (%b::bigint[])
  AND NOT EXISTS (SELECT FROM chats WHERE chats.id = search_chats.chat_id)
"""
FIND_CHATS = "SELECT chat_id, blocks FROM search_chats WHERE chat_id = ANY (%b::bigint[])"
LOCK_CHATS = f"{FIND_CHATS} ORDER BY chat_id FOR NO KEY UPDATE"
COVER_CHAT = "UPDATE search_chats SET blocks = %s WHERE chat_id = %s"

# The blocks from `first` to `last` that have texts, in their order. Each step looks the next one up
# in the index, so the cost follows the texts, whatever gaps there are between numbers.
FILLED_BLOCKS = """
WITH RECURSIVE filled (block) AS (
    SELECT {first} - 1
    UNION ALL
    SELECT (
        SELECT (number - 1) / 64 FROM search_texts
        WHERE chat_id = %(chat_id)s AND number > filled.block * 64 + 64 ORDER BY number LIMIT 1
    )
    FROM filled WHERE filled.block < {last}
)
SELECT block FROM filled WHERE block BETWEEN {first} AND {last}
"""
MEASURE_BLOCKS = f"""
SELECT block, (
    SELECT sum(octet_length(marked)) FROM search_texts
    WHERE chat_id = %(chat_id)s AND number BETWEEN block * 64 + 1 AND block * 64 + 64
)
FROM ({FILLED_BLOCKS.format(first="%(start)s::bigint", last="%(end)s::bigint - 1")}) AS filled
LIMIT %(limit)s
"""
READ_STAMPS = """
SELECT number, xmin::text FROM search_texts WHERE chat_id = %s AND number > %s AND number <= %s
"""
READ_TEXTS = """
SELECT number, xmin::text, CASE WHEN (number - 1) / 64 = ANY (%s) THEN marked END
FROM search_texts WHERE chat_id = %s AND number > %s AND number <= %s
"""
READ_CHANGED = "SELECT number, marked FROM search_texts WHERE chat_id = %s AND number = ANY (%s)"
INSERT_BLOCKS = """
INSERT INTO search_blocks (chat_id, block, keys)
SELECT chat_id, block, string_to_array(keys, E'\\n')
FROM unnest(%b::bigint[], %b::bigint[], %b::text[]) AS rows (chat_id, block, keys)
"""
# `block >= 0`, which holds for every row, is the condition of the index of blocks.
DELETE_BLOCKS = """
DELETE FROM search_blocks WHERE chat_id = %s AND block >= %s AND block < %s AND block >= 0
"""


class Uncovered(NamedTuple):
    """Once `most` blocks of a chat are not covered, all but the newest `least` of them are."""

    most: int = 24
    least: int = 8


UNCOVERED = Uncovered()


class BlockRow(NamedTuple):
    chat_id: int
    block: int
    keys: str


def block_of(number: int) -> int:
    """Return the block that a message belongs to, counted from 0."""
    return (number - 1) // BLOCK


def lock_chats(
    connection: Connection, chat_ids: Sequence[int], known: Container[int] = ()
) -> dict[int, int]:
    """Lock chats until the transaction ends; return how many blocks of each are covered.

    `known` are chats that had a row: only an erased chat has lost it since, and gets no other.
    """
    ordered = sorted(chat_ids)
    is_known = all(chat_id in known for chat_id in ordered)
    if not is_known and connection.execute(INSERT_CHATS, (ordered,)).rowcount:
        connection.execute(FORGET_ERASED_CHATS, (ordered,))
    return dict(connection.execute(LOCK_CHATS, (ordered,)).fetchall())


def cover_long_chats(
    connection: Connection,
    highest: dict[int, int],
    covered: dict[int, int],
    uncovered: Uncovered = UNCOVERED,
) -> None:
    """Cover the chats that have become long.

    Blocks that remain, because there are too many or because the process ends, are covered
    with the chat's next message.

    Args:
        highest: the highest number written to each chat, by chat id.
        covered: how many blocks of it are covered, by chat id.
        uncovered: how many blocks of a chat stay without keys.
    """
    for chat_id, number in highest.items():
        end = block_of(number) - uncovered.least
        start = covered.get(chat_id, 0)
        if end - start >= uncovered.most - uncovered.least:
            for _ in range(PIECES_AT_ONCE):
                if start < end:
                    start = cover_piece(connection, chat_id, start, end)


def cover_piece(connection: Connection, chat_id: int, start: int, end: int) -> int:
    """Cover a piece of blocks from `start` on; return the block to go on with."""
    piece = read_piece(connection, chat_id, start, end)
    with connection.transaction():
        blocks = lock_chats(connection, [chat_id]).get(chat_id, end)
        if blocks != start:
            return max(blocks, start + 1)  # another indexer has done it
        write_piece(connection, piece)
        connection.execute(COVER_CHAT, (piece.end, chat_id))
    return piece.end


def rebuild_block(connection: Connection, chat_id: int, block: int) -> None:
    """Rebuild one block from its texts."""
    piece = read_piece(connection, chat_id, block, block + 1)
    with connection.transaction():
        # A chat that was erased meanwhile gets no blocks.
        if lock_chats(connection, [chat_id]):
            connection.execute(DELETE_BLOCKS, (chat_id, piece.start, piece.end))
            write_piece(connection, piece)


def forget_block(connection: Connection, chat_id: int, block: int) -> None:
    """Forget the grams of a block, which is then always scanned; its chat must be locked."""
    connection.execute(DELETE_BLOCKS, (chat_id, block, block + 1))
    insert_blocks(connection, [BlockRow(chat_id, block, any_key(chat_id))])


@dataclass(frozen=True, slots=True)
class Piece:
    """Blocks from `start` to before `end`, with the keys of their texts as they were read."""

    chat_id: int
    start: int
    end: int
    keys: dict[int, str]
    stamps: dict[int, str]  # by number: the transaction that wrote the text

    @property
    def bounds(self) -> tuple[int, int, int]:
        return self.chat_id, self.start * BLOCK, self.end * BLOCK


def read_piece(connection: Connection, chat_id: int, start: int, end: int) -> Piece:
    """Read the texts of at most PIECE_BLOCKS blocks that have any, and cut their keys.

    Args:
        chat_id: their chat.
        start, end: the first block, and the one behind the last; a piece may end before.
    """
    parameters = {"chat_id": chat_id, "start": start, "end": end, "limit": PIECE_BLOCKS}
    measured = connection.execute(MEASURE_BLOCKS, parameters).fetchall()
    if len(measured) == PIECE_BLOCKS:
        end = measured[-1][0] + 1
    readable, total = [], 0
    keys = {}
    for block, size in measured:
        if size > MAX_BYTES:
            keys[block] = any_key(chat_id)
        elif total and total + size > PIECE_BYTES:
            end = block
            break
        else:
            readable.append(block)
            total += size
    keys = {block: found for block, found in keys.items() if block < end}
    bounds = (chat_id, start * BLOCK, end * BLOCK)
    rows = connection.execute(READ_TEXTS, (readable, *bounds)).fetchall()
    texts: dict[int, list[str]] = {}
    for number, _stamp, marked in rows:
        if marked is not None:
            texts.setdefault(block_of(number), []).append(marked)
    keys |= {block: keys_of(chat_id, RUN_SEPARATOR.join(found)) for block, found in texts.items()}
    # A text of a block that had no texts when it was measured is not read, and gets no stamp.
    stamps = {
        number: stamp
        for number, stamp, marked in rows
        if marked is not None or block_of(number) in keys
    }
    return Piece(chat_id, start, end, keys, stamps)


def write_piece(connection: Connection, piece: Piece) -> None:
    """Write a piece's blocks, and the keys of texts changed since it was read, under the lock.

    A block that has lost a text since gets no grams of it: it is always scanned, until the
    indexer comes to that change and rebuilds it.
    """
    chat_id = piece.chat_id
    stamps: dict[int, str] = dict(connection.execute(READ_STAMPS, piece.bounds).fetchall())
    shrunk = {block_of(number) for number in piece.stamps if number not in stamps}
    rows = [
        BlockRow(chat_id, block, any_key(chat_id) if block in shrunk else keys)
        for block, keys in piece.keys.items()
    ]
    insert_blocks(connection, rows)
    changed = [number for number, stamp in stamps.items() if piece.stamps.get(number) != stamp]
    for start in range(0, len(changed), BLOCK):
        numbers = changed[start : start + BLOCK]
        texts = connection.execute(READ_CHANGED, (chat_id, numbers)).fetchall()
        rows = [
            BlockRow(chat_id, block_of(number), keys_of(chat_id, text)) for number, text in texts
        ]
        insert_blocks(connection, rows)


def insert_blocks(connection: Connection, rows: Sequence[BlockRow]) -> None:
    """Add keys to blocks; their chats must be locked."""
    if rows:
        connection.execute(INSERT_BLOCKS, tuple(map(list, zip(*rows, strict=True))))


def keys_of(chat_id: int, text: str) -> str:
    """Return the keys of all grams of a marked text in one chat, joined by RUN_SEPARATOR."""
    return RUN_SEPARATOR.join(gram_keys(chat_id, all_grams(text)))


def any_key(chat_id: int) -> str:
    """Return the key of a block that is always scanned."""
    return gram_keys(chat_id, {ANY_GRAM})[0]


def gram_keys(chat_id: int, grams: set[str]) -> list[str]:
    """Return the keys of grams in one chat: the grams behind its id."""
    prefix = f"{chat_id}:"
    return [prefix + gram for gram in grams]
