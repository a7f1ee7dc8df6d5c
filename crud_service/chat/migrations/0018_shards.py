"""Remember the number of shards (see `stores.installed_shards`).

size        for how many shards the keys in Redis are named
former      the number before, while `reshard` moves what is in Redis

An installation that has applications has one shard; another one gets its SHARDS when it starts.
"""

from django.db import migrations

CREATE = """
CREATE TABLE IF NOT EXISTS shards (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    size integer NOT NULL CHECK (size > 0),
    former integer
);
INSERT INTO shards (size) SELECT 1 WHERE EXISTS (SELECT FROM applications) ON CONFLICT DO NOTHING;
"""


class Migration(migrations.Migration):
    dependencies = [("chat", "0017_changed_chats")]
    operations = [migrations.RunSQL(CREATE, "DROP TABLE shards")]
