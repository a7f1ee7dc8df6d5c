"""The optional fields of messages and chats, and of creations that became conflicts.

A change of a message's sender or metadata is numbered like one of its body. The columns are
null where nothing is set, so no table is rewritten, and the index has only messages with a
sender.
"""

from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps
from django.db.models import Q

import crud_service.chat.json_text
from crud_service.chat.unlocked import run_when_unlocked

ADD_TO_MESSAGES = """
ALTER TABLE messages ADD COLUMN IF NOT EXISTS sender varchar(255),
                     ADD COLUMN IF NOT EXISTS metadata json,
                     ADD COLUMN IF NOT EXISTS reply_to bigint;

CREATE OR REPLACE TRIGGER messages_changed BEFORE UPDATE ON messages FOR EACH ROW
    WHEN (NEW.version <> OLD.version OR NEW.body <> OLD.body
        OR NEW.sender IS DISTINCT FROM OLD.sender
        OR NEW.metadata::text IS DISTINCT FROM OLD.metadata::text)
    EXECUTE FUNCTION number_change();
"""
ADD_TO_CHATS = """
ALTER TABLE chats ADD COLUMN IF NOT EXISTS name varchar(255),
                  ADD COLUMN IF NOT EXISTS metadata json;
"""
ADD_TO_CONFLICTS = """
ALTER TABLE conflicts ADD COLUMN IF NOT EXISTS attributes text NOT NULL DEFAULT '';
"""

DROP_FROM_MESSAGES = """
CREATE OR REPLACE TRIGGER messages_changed BEFORE UPDATE ON messages FOR EACH ROW
    WHEN (NEW.version <> OLD.version OR NEW.body <> OLD.body) EXECUTE FUNCTION number_change();
ALTER TABLE messages DROP COLUMN IF EXISTS sender, DROP COLUMN IF EXISTS metadata,
                     DROP COLUMN IF EXISTS reply_to;
"""
DROP_FROM_CHATS = """
ALTER TABLE chats DROP COLUMN IF EXISTS name, DROP COLUMN IF EXISTS metadata;
"""
DROP_FROM_CONFLICTS = "ALTER TABLE conflicts DROP COLUMN IF EXISTS attributes"

# An interrupted attempt leaves an invalid index behind.
DROP_INDEX = "DROP INDEX CONCURRENTLY IF EXISTS messages_sender_idx"
CREATE_INDEX = """
CREATE INDEX CONCURRENTLY messages_sender_idx ON messages (chat_id, sender, number)
WHERE sender IS NOT NULL
"""


def add(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    """Add the columns."""
    for statements in (ADD_TO_MESSAGES, ADD_TO_CHATS, ADD_TO_CONFLICTS):
        run_when_unlocked(editor, statements)


def drop(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    """Drop the columns."""
    for statements in (DROP_FROM_CONFLICTS, DROP_FROM_CHATS, DROP_FROM_MESSAGES):
        run_when_unlocked(editor, statements)


class Migration(migrations.Migration):
    atomic = False
    dependencies = (("chat", "0012_imports"),)
    operations = (
        migrations.SeparateDatabaseAndState(
            [migrations.RunPython(add, drop)],
            [
                migrations.AddField(
                    "message", "sender", models.CharField(max_length=255, null=True, blank=True)
                ),
                migrations.AddField(
                    "message",
                    "metadata",
                    crud_service.chat.json_text.JsonText(null=True, blank=True),
                ),
                migrations.AddField(
                    "message", "reply_to", models.BigIntegerField(null=True, blank=True)
                ),
                migrations.AddField(
                    "chat", "name", models.CharField(max_length=255, null=True, blank=True)
                ),
                migrations.AddField(
                    "chat", "metadata", crud_service.chat.json_text.JsonText(null=True, blank=True)
                ),
                migrations.AddField(
                    "conflict", "attributes", models.TextField(blank=True, db_default="")
                ),
            ],
        ),
        migrations.SeparateDatabaseAndState(
            [
                migrations.RunSQL(DROP_INDEX, migrations.RunSQL.noop),
                migrations.RunSQL(CREATE_INDEX, DROP_INDEX),
            ],
            [
                migrations.AddIndex(
                    "message",
                    models.Index(
                        fields=("chat", "sender", "number"),
                        condition=Q(sender__isnull=False),
                        name="messages_sender_idx",
                    ),
                )
            ],
        ),
    )
