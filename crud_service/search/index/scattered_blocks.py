"""Merges the rows of blocks that have several.

Each edit of a message in a covered block adds a row with the grams of its text. Without a limit,
a client that edits one message again and again would fill the disk.
"""

from collections.abc import Iterable

from crud_service.search.index.blocks import rebuild_block
from crud_service.search.text.texts import columns
from crud_service.stores.database import Connection

# Rebuilding a block costs as much as cutting the grams of its 64 messages: few enough rows to
# store, and enough edits to share that cost.
MOST_ROWS = 32

FIND_SCATTERED_BLOCKS = """
SELECT given.chat_id, given.block
FROM unnest(%s::bigint[], %s::bigint[]) AS given (chat_id, block)
WHERE %s < (
    SELECT count(*) FROM search_blocks AS covered
    WHERE covered.chat_id = given.chat_id AND covered.block = given.block AND covered.block >= 0
)
"""


def join_blocks(
    connection: Connection, blocks: Iterable[tuple[int, int]], most_rows: int = MOST_ROWS
) -> None:
    """Rebuild each block that has more than `most_rows` rows, so that it has one.

    Their chats must not be locked.
    """
    if not (ordered := sorted(set(blocks))):
        return
    parameters = (*columns(ordered, 2), most_rows)
    scattered = connection.execute(FIND_SCATTERED_BLOCKS, parameters).fetchall()
    for chat_id, block in scattered:
        rebuild_block(connection, chat_id, block)
