"""A message whose sender or time changes is indexed again: searches filter by both.

The API changes neither, but an operator's statement may.
"""

from django.db import migrations

REPLACE = """
CREATE OR REPLACE FUNCTION enqueue_updated_messages() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO search_outbox (application_id, message_id, chat_id, number)
    SELECT coalesce(chats.application_id, 0), changed.id, changed.chat_id, changed.number
    FROM changed JOIN replaced USING (id) LEFT JOIN chats ON chats.id = changed.chat_id
    WHERE changed.version <> replaced.version OR changed.body <> replaced.body{more};
    RETURN NULL;
END $$;
"""
MORE = """
        OR changed.sender IS DISTINCT FROM replaced.sender
        OR changed.created_at <> replaced.created_at"""


class Migration(migrations.Migration):
    dependencies = [("chat", "0022_indexes_of_chats")]
    operations = [migrations.RunSQL(REPLACE.format(more=MORE), REPLACE.format(more=""))]
