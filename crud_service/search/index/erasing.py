"""Takes texts out of PostgreSQL's search, in the transaction that erases them from `messages`."""

from collections.abc import Sequence

from crud_service.search.index.blocks import block_of, forget_block
from crud_service.stores.database import Connection

ERASE_TEXT = "DELETE FROM search_texts WHERE chat_id = %s AND number = %s"
# The reason of a failure may quote the text.
ERASE_FAILURES = "DELETE FROM search_failures WHERE message_id = ANY (%s)"


def erase_text(
    connection: Connection, chat_id: int, number: int, message_id: int, blocks: int
) -> None:
    """Erase a message's text, and the grams of its block, which the indexer then rebuilds.

    Args:
        connection: one with a transaction that has locked the chat (`lock_chats`).
        chat_id: the message's chat.
        number: its number.
        message_id: its row.
        blocks: how many blocks of the chat are covered.
    """
    connection.execute(ERASE_TEXT, (chat_id, number))
    if block_of(number) < blocks:
        forget_block(connection, chat_id, block_of(number))
    erase_failures(connection, [message_id])


def erase_failures(connection: Connection, message_ids: Sequence[int]) -> None:
    """Erase what is kept of messages that could not be indexed."""
    connection.execute(ERASE_FAILURES, (list(message_ids),))
