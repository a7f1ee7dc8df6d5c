"""The keys of texts that are written late: when their block is already covered."""

from collections.abc import Sequence
from typing import Protocol

from crud_service.search.index.blocks import (
    FIND_CHATS,
    BlockRow,
    block_of,
    insert_blocks,
    keys_of,
)
from crud_service.stores.database import Connection


class Marked(Protocol):
    """A marked text, and the message that it is of."""

    @property
    def chat_id(self) -> int: ...
    @property
    def number(self) -> int: ...
    @property
    def marked(self) -> str: ...


class LateKeys:
    """The keys of messages whose block may have been covered before they were written.

    The constructor cuts them for the blocks that are covered now. `add` cuts them for the
    few that another indexer covers before the lock is taken.
    """

    def __init__(self, connection: Connection, texts: Sequence[Marked]) -> None:
        chats = list({text.chat_id for text in texts})
        covered: dict[int, int] = dict(connection.execute(FIND_CHATS, (chats,)).fetchall())
        self.known_chats = covered.keys()
        self._texts = texts
        self._keys = {
            (text.chat_id, text.number): keys_of(text.chat_id, text.marked)
            for text in late(texts, covered)
        }

    def add(
        self, connection: Connection, covered: dict[int, int], written: set[tuple[int, int]]
    ) -> None:
        """Add the keys of the texts that were written to the blocks.

        The chats must be locked; `covered` is from `lock_chats`, `written` has chats and numbers.
        A text that was not written may be that of a message deleted meanwhile.
        """
        rows = []
        for text in late(self._texts, covered):
            if (text.chat_id, text.number) not in written:
                continue
            keys = self._keys.get((text.chat_id, text.number))
            keys = keys or keys_of(text.chat_id, text.marked)
            rows.append(BlockRow(text.chat_id, block_of(text.number), keys))
        insert_blocks(connection, rows)


def late(texts: Sequence[Marked], covered: dict[int, int]) -> list[Marked]:
    """Return the texts whose block is covered, given how many blocks of each chat are."""
    return [text for text in texts if block_of(text.number) < covered.get(text.chat_id, 0)]
