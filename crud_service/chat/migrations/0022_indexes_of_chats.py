"""Statements that name the chat, and are to read another index than that of the chat.

A search finds blocks by their chat and their grams, and what Elasticsearch has accepted is deleted
from the queue by chats and ids. In both tables an index that begins with the chat may look cheaper
than that of the grams or of the ids: the planner knows neither what comparing all keys of a chat's
blocks costs (see 0020), nor, without statistics, how many rows of a chat are in the queue. So these
two indexes are partial now. They hold every row, but only a statement that repeats their condition
can use them.

Statements of the release before do not repeat it. Until its processes are replaced, they may read
all of the queue to see whether a chat is in it, and all rows of `search_blocks` to find one: its
keys are stored out of line, so that 892 blocks fill 8 pages.
"""

from django.db import migrations

# An interrupted attempt leaves an invalid index behind.
DROP = "DROP INDEX CONCURRENTLY IF EXISTS {}"
CREATE = "CREATE INDEX CONCURRENTLY {} ON {}"
RENAME = "ALTER INDEX {} RENAME TO {}"

# No release has called the former function.
CREATE_FUNCTION = """
CREATE OR REPLACE FUNCTION blocks_with(chat bigint, wanted text[]) RETURNS SETOF bigint
LANGUAGE sql STABLE PARALLEL SAFE ROWS 100 SET enable_seqscan = off AS $$
    SELECT block FROM search_blocks WHERE chat_id = chat AND keys @> wanted
$$;
DROP FUNCTION IF EXISTS blocks_with(text[]);
"""
CREATE_FORMER_FUNCTION = """
CREATE OR REPLACE FUNCTION blocks_with(wanted text[]) RETURNS SETOF bigint
LANGUAGE sql STABLE PARALLEL SAFE ROWS 100 SET enable_seqscan = off AS $$
    SELECT block FROM search_blocks WHERE keys @> wanted
$$;
DROP FUNCTION IF EXISTS blocks_with(bigint, text[]);
"""


def make_partial(name: str, columns: str, condition: str) -> list[migrations.RunSQL]:
    """Return the operations that replace an index on a table's columns by a partial one."""
    new = f"{name}_new"
    return [
        migrations.RunSQL(DROP.format(new), migrations.RunSQL.noop),
        migrations.RunSQL(CREATE.format(new, f"{columns} WHERE {condition}"), DROP.format(new)),
        migrations.RunSQL(DROP.format(name), CREATE.format(name, columns)),
        migrations.RunSQL(RENAME.format(new, name), RENAME.format(name, new)),
    ]


class Migration(migrations.Migration):
    atomic = False
    dependencies = (("chat", "0021_chats_for_each_application"),)
    operations = (
        *make_partial("search_blocks_block_idx", "search_blocks (chat_id, block)", "block >= 0"),
        *make_partial(
            "search_queue_chat_idx",
            "search_queue (chat_id, changed_at)",
            "changed_at > '-infinity'",
        ),
        migrations.RunSQL(CREATE_FUNCTION, CREATE_FORMER_FUNCTION),
    )
