"""Starts an index when there is none that had every change: a new or wiped Elasticsearch.

`search_state` remembers of which format the index is that has followed every
change since it was made. It is set to 0 before anything is done here, so a
start that was cut off is made again.
"""

import logging
from typing import Any

import psycopg

from crud_service.search.elasticsearch_index import (
    aliased_indices,
    all_indices,
    create_index,
    new_index_name,
    remove_index,
)

logger = logging.getLogger(__name__)
Connection = psycopg.Connection[tuple[Any, ...]]

# Raise it with every change to the mapping or to the documents: the index is
# then started over by itself.
INDEX_FORMAT = 1

# Held by `rebuild_index` for as long as it runs, and shared by each batch: a
# batch that cannot have its share knows that there is a second index to feed,
# and a rebuild does not begin before the batches that did not know have ended.
REBUILD_LOCK = 0x5EA7C4
SHARE_REBUILD_LOCK = "SELECT pg_try_advisory_xact_lock_shared(%s)"
TRY_REBUILD_LOCK = "SELECT pg_try_advisory_xact_lock(%s)"

# As if they had waited for a minute: searches go to PostgreSQL until all are in.
ENQUEUE_EVERYTHING = """
INSERT INTO search_queue (message_id, chat_id, number, changed_at)
SELECT message_id, chat_id, number, now() - interval '1 minute'
FROM search_texts ORDER BY message_id
"""


def is_in_step(connection: Connection) -> bool:
    """Whether the alias leads to one index that has had every change."""
    (row,) = connection.execute("SELECT index_format FROM search_state").fetchall()
    return bool(row[0] == INDEX_FORMAT and len(aliased_indices()) == 1)


def start_over(connection: Connection) -> None:
    """Replace whatever is there by an empty index, and enqueue every message."""
    set_format(connection, 0)
    with connection.transaction():
        if not connection.execute(TRY_REBUILD_LOCK, (REBUILD_LOCK,)).fetchall()[0][0]:
            return  # a rebuild is making one
        # Not TRUNCATE, which would hold up every search until Elasticsearch has answered.
        connection.execute("DELETE FROM search_queue")
        connection.execute(ENQUEUE_EVERYTHING)
        for index in all_indices():
            remove_index(index)
        name = new_index_name()
        create_index(name, aliased=True)
        set_format(connection, INDEX_FORMAT)
    logger.warning("a new search index is being filled", extra={"index": name})


def set_format(connection: Connection, index_format: int) -> None:
    """Remember which index there is."""
    connection.execute(
        "UPDATE search_state SET index_format = %s WHERE index_format <> %s",
        (index_format, index_format),
    )
