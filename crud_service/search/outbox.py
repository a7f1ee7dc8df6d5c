"""The step from `messages` to `search_texts`: folds what changed, a batch in a transaction."""

from collections.abc import Sequence

import psycopg

from crud_service.search.blocks import cover_rows
from crud_service.search.folding import mark
from crud_service.search.texts import Text, columns

BATCH = 1000

# The lowest ids first, past those that another worker holds. An array is made once;
# a plan may look into a subquery for each row, which would find others each time.
CLAIM = """
WITH claimed AS (
    DELETE FROM search_outbox
    WHERE id = ANY (ARRAY(
        SELECT id FROM search_outbox ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED
    ))
    RETURNING message_id, chat_id, number, changed_at
), changes AS (
    SELECT message_id, chat_id, number, min(changed_at) AS changed_at
    FROM claimed GROUP BY message_id, chat_id, number
)
SELECT changes.message_id, changes.chat_id, changes.number, changes.changed_at,
       messages.version, messages.body
FROM changes LEFT JOIN messages ON messages.id = changes.message_id
ORDER BY changes.chat_id, changes.number
"""

# A frozen worker that wakes up must not put an older text over a newer one.
STORE = """
INSERT INTO search_texts (chat_id, number, message_id, version, marked)
SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::int[], %s::text[])
ON CONFLICT (chat_id, number) DO UPDATE
SET message_id = excluded.message_id, version = excluded.version, marked = excluded.marked
WHERE (search_texts.message_id, search_texts.version) <= (excluded.message_id, excluded.version)
"""

REMOVE = """
DELETE FROM search_texts USING unnest(%s::bigint[], %s::bigint[], %s::bigint[])
    AS gone (chat_id, number, message_id)
WHERE search_texts.chat_id = gone.chat_id AND search_texts.number = gone.number
  AND search_texts.message_id = gone.message_id
"""

HAND_ON = """
INSERT INTO search_queue (message_id, chat_id, number, changed_at)
SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::timestamptz[])
"""


# From here on an index misses changes. Should there be an Elasticsearch again,
# the indexer starts a new one.
FORGET_INDEX = "UPDATE search_state SET index_format = 0 WHERE index_format <> 0"


Change = tuple[int, int, int, object, int | None, str | None]


def index_batch(connection: psycopg.Connection, *, hand_on: bool, limit: int = BATCH) -> int:
    """Fold one batch of what changed; tells how many changes it was.

    With `hand_on` the messages are queued for Elasticsearch in the same
    transaction, so none can be in one and not in the other.
    """
    with connection.transaction():
        if not hand_on:
            connection.execute(FORGET_INDEX)
        changes: list[Change] = connection.execute(CLAIM, (limit,)).fetchall()
        if changes:
            store_texts(connection, [row for row in map(to_text, changes) if row])
            remove_texts(connection, [row for row in changes if row[5] is None])
            if hand_on:
                ids, chats, numbers, times = columns([row[:4] for row in changes], 4)
                connection.execute(HAND_ON, (ids, chats, numbers, times))
    return len(changes)


def to_text(change: Change) -> Text | None:
    """The folded text of a message; None for one that is gone."""
    message_id, chat_id, number, _changed_at, version, body = change
    if version is None or body is None:
        return None
    return Text(chat_id, number, message_id, version, mark(body))


def store_texts(connection: psycopg.Connection, texts: Sequence[Text]) -> None:
    """Write texts, given in the order of their keys so that two writers cannot deadlock."""
    if not texts:
        return
    rows = [(t.chat_id, t.number, t.message_id, t.version, t.marked) for t in texts]
    connection.execute(STORE, columns(rows, 5))
    cover_rows(connection, [(text.chat_id, text.number, text.marked) for text in texts])


def remove_texts(connection: psycopg.Connection, gone: Sequence[Change]) -> None:
    """Forget messages that are no longer there."""
    if gone:
        ids, chats, numbers = columns([row[:3] for row in gone], 3)
        connection.execute(REMOVE, (chats, numbers, ids))
