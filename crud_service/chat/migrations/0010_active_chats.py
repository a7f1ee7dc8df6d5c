"""An index of each application's chats by their last activity.

The key is one number for each chat: the id of its last message, or, for a chat without any, a
negative number that grows with the chat's. `list_queries.ACTIVITY` is the same expression.
"""

from django.db import migrations

# An interrupted attempt leaves an invalid index behind.
DROP = "DROP INDEX CONCURRENTLY IF EXISTS chats_activity_idx"
CREATE = """
CREATE INDEX CONCURRENTLY chats_activity_idx ON chats (application_id, (
    CASE last_message_id WHEN 0 THEN number - 9223372036854775807 - 1 ELSE last_message_id END))
"""


class Migration(migrations.Migration):
    atomic = False
    dependencies = (("chat", "0009_ends_of_chats"),)
    operations = (
        migrations.RunSQL(DROP, migrations.RunSQL.noop),
        migrations.RunSQL(CREATE, DROP),
    )
