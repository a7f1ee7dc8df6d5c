"""Checks that no covered block lacks a gram of its messages, and repairs those that do.

If a block lacks a gram of a message, PostgreSQL does not find the message although it and
its text are stored. Extra grams are allowed. The grams are compared in PostgreSQL, block
by block: this process never holds more than the text of one piece.
"""

import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import NamedTuple

from crud_service.search.feed.check import SETTLE_SECONDS, SUSPECTS
from crud_service.search.feed.check_report import Report
from crud_service.search.index.blocks import (
    BLOCK,
    any_key,
    keys_of,
    lock_chats,
    read_piece,
    rebuild_block,
)
from crud_service.stores.database import Connection

PAGE = 500

# The chats that have blocks, with how many are covered and how many their messages fill.
READ_CHATS = """
SELECT chat_id, blocks, (63 + greatest(
    (SELECT max(number) FROM search_texts AS text WHERE text.chat_id = chat.chat_id),
    (SELECT highest_number FROM chats WHERE chats.id = chat.chat_id), 0
)) / 64 FROM search_chats AS chat WHERE {where} AND blocks <> 0 ORDER BY chat_id LIMIT %s
"""
COUNT_MISSING = """
SELECT count(*) FROM (
    SELECT key COLLATE "C" FROM unnest(string_to_array(%(keys)s, E'\\n')) AS key
    EXCEPT SELECT unnest(keys) FROM search_blocks
    WHERE chat_id = %(chat_id)s AND block = %(block)s AND block >= 0
) AS missing
WHERE NOT EXISTS (
    SELECT FROM search_blocks
    WHERE chat_id = %(chat_id)s AND block = %(block)s AND block >= 0
      AND %(any_key)s = ANY (keys)
)
"""
READ_NUMBERS = "SELECT number FROM search_texts WHERE chat_id = %s AND number > %s AND number <= %s"
READ_TEXT = "SELECT marked FROM search_texts WHERE chat_id = %s AND number = %s"
COUNT_BLOCKS = "SELECT coalesce(sum(blocks), 0) FROM search_chats"
SET_BLOCKS = "UPDATE search_chats SET blocks = %s WHERE chat_id = %s"


class Block(NamedTuple):
    chat_id: int
    block: int


class Extent(NamedTuple):
    """How many blocks of a chat are covered, and how many its messages fill."""

    chat_id: int
    covered: int
    filled: int


def check_blocks(
    connection: Connection,
    report: Report,
    *,
    mend: bool,
    settle_seconds: float = SETTLE_SECONDS,
    advance: Callable[[int], object] = lambda blocks: None,
) -> None:
    """Check every block. One that lacks a gram is checked again after a delay.

    Args:
        report: where what is wrong is added.
        mend: whether what is wrong is repaired.
        settle_seconds: the delay, in which the indexer may finish what it has begun.
        advance: gets the number of blocks after each step.
    """

    def lacking() -> Iterator[Block]:
        for chat_id, covered, filled in read_chats(connection):
            if not 0 <= covered <= filled:
                check_extent(connection, report, chat_id, mend=mend)
            for block in lacking_blocks(connection, chat_id, min(covered, filled), advance):
                yield Block(chat_id, block)

    suspects = lacking()
    while some := list(islice(suspects, SUSPECTS)):
        time.sleep(settle_seconds)
        confirm(connection, report, some, mend=mend)


def read_chats(connection: Connection) -> Iterator[Extent]:
    last = 0
    query = READ_CHATS.format(where="chat_id > %s")
    while rows := connection.execute(query, (last, PAGE)).fetchall():
        chats = [Extent(*row) for row in rows]
        yield from chats
        last = chats[-1].chat_id


def check_extent(connection: Connection, report: Report, chat_id: int, *, mend: bool) -> None:
    """Check, with the chat locked, whether more blocks are recorded as covered than it has."""
    with connection.transaction():
        lock_chats(connection, [chat_id])
        query = READ_CHATS.format(where="chat_id = %s")
        for _chat_id, blocks, highest in connection.execute(query, (chat_id, 1)).fetchall():
            if not 0 <= blocks <= highest:
                report.blocks.add(f"chat id {chat_id}: {blocks} of {highest} blocks are covered")
                if mend:
                    # Blocks below that have no row yet lack their grams, and are repaired for it.
                    connection.execute(SET_BLOCKS, (highest, chat_id))


def count_blocks(connection: Connection) -> int:
    """Return how many blocks are recorded as covered."""
    return int(connection.execute(COUNT_BLOCKS).fetchall()[0][0])


def lacking_blocks(
    connection: Connection, chat_id: int, blocks: int, advance: Callable[[int], object]
) -> Iterator[int]:
    start = 0
    while start < blocks:
        piece = read_piece(connection, chat_id, start, blocks)
        for block, keys in piece.keys.items():
            if is_lacking(connection, chat_id, block, keys):
                yield block
        advance(piece.end - start)
        start = piece.end


def is_lacking(connection: Connection, chat_id: int, block: int, keys: str) -> bool:
    if not is_missing(connection, chat_id, block, keys):
        return False
    if keys != any_key(chat_id):
        return True
    # The block exceeded MAX_BYTES after it was covered: each message has added its own grams.
    bounds = (chat_id, block * BLOCK, (block + 1) * BLOCK)
    for (number,) in connection.execute(READ_NUMBERS, bounds).fetchall():
        row = connection.execute(READ_TEXT, (chat_id, number)).fetchone()
        if row and is_missing(connection, chat_id, block, keys_of(chat_id, row[0])):
            return True
    return False


def is_missing(connection: Connection, chat_id: int, block: int, keys: str) -> bool:
    parameters = {"chat_id": chat_id, "block": block, "keys": keys, "any_key": any_key(chat_id)}
    return bool(connection.execute(COUNT_MISSING, parameters).fetchall()[0][0])


def confirm(connection: Connection, report: Report, suspects: list[Block], *, mend: bool) -> None:
    """Record (and repair) the blocks that still lack a gram: some may have been rebuilt."""
    for chat_id, block in suspects:
        piece = read_piece(connection, chat_id, block, block + 1)
        if any(is_lacking(connection, chat_id, block, keys) for keys in piece.keys.values()):
            report.blocks.add(f"chat id {chat_id}: block {block} lacks grams of its messages")
            if mend:
                rebuild_block(connection, chat_id, block)
