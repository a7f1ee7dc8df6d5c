"""Blocks are found by their grams alone, by a function that always reads the index of grams.

The planner underestimates the table, because the keys of a block are stored out of line, and
assumes that comparing two arrays costs next to nothing. So it read and compared all keys of all
blocks: a second for those of three chats of 20,000 messages, vacuumed or not. What waits in the
index's pending list makes the index look more expensive still.
"""

from django.db import migrations

CREATE = """
CREATE FUNCTION blocks_with(wanted text[]) RETURNS SETOF bigint
LANGUAGE sql STABLE PARALLEL SAFE ROWS 100 SET enable_seqscan = off AS $$
    SELECT block FROM search_blocks WHERE keys @> wanted
$$;
"""


class Migration(migrations.Migration):
    dependencies = [("chat", "0019_entries_of_shards")]
    operations = [migrations.RunSQL(CREATE, "DROP FUNCTION blocks_with(text[])")]
