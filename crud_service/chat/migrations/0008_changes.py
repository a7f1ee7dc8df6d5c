"""Count the changes of each chat, and remember where each chat ends.

chats.changes           how many changes of its messages there have been, from any source
messages.change         which of them changed this message last, 0 if none did
chats.highest_number    the highest number of its stored messages, 0 for none
chats.last_message_id   the id of the message with that number, 0 for none

The trigger increments the counter of the chat, whose row stays locked until the commit, so
the changes of a chat are committed in the order of their numbers: readers can use the
number as a cursor. Creating a message changes nothing and takes no part in this.

Large tables stay readable and writable. Adding a column with a constant default rewrites
nothing, so every statement here holds its lock for a moment; those that need an exclusive
lock do not wait long for it (`run_when_unlocked`). Migration 0009 fills the columns and indexes
them. Each step can be repeated, in case of an interruption.
"""

from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

from crud_service.chat.unlocked import run_when_unlocked

ADD_TO_CHATS = """
ALTER TABLE chats ADD COLUMN IF NOT EXISTS changes bigint NOT NULL DEFAULT 0,
                  ADD COLUMN IF NOT EXISTS highest_number bigint NOT NULL DEFAULT 0,
                  ADD COLUMN IF NOT EXISTS last_message_id bigint NOT NULL DEFAULT 0;
"""

# A chat may be deleted before its messages, in one transaction: then nobody counts.
ADD_TO_MESSAGES = """
ALTER TABLE messages ADD COLUMN IF NOT EXISTS change bigint NOT NULL DEFAULT 0;

CREATE OR REPLACE FUNCTION number_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    counted bigint;
BEGIN
    UPDATE chats SET changes = changes + 1 WHERE id = NEW.chat_id RETURNING changes INTO counted;
    NEW.change := coalesce(counted, OLD.change);
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER messages_changed BEFORE UPDATE ON messages FOR EACH ROW
    WHEN (NEW.version <> OLD.version OR NEW.body <> OLD.body) EXECUTE FUNCTION number_change();
"""

DROP_FROM_MESSAGES = """
DROP TRIGGER IF EXISTS messages_changed ON messages;
DROP FUNCTION IF EXISTS number_change();
ALTER TABLE messages DROP COLUMN IF EXISTS change;
"""

DROP_FROM_CHATS = """
ALTER TABLE chats DROP COLUMN IF EXISTS changes, DROP COLUMN IF EXISTS highest_number,
                  DROP COLUMN IF EXISTS last_message_id;
"""


def add(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    """Add the columns and the trigger."""
    for statements in (ADD_TO_CHATS, ADD_TO_MESSAGES):
        run_when_unlocked(editor, statements)


def drop(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    """Drop the trigger and the columns."""
    for statements in (DROP_FROM_MESSAGES, DROP_FROM_CHATS):
        run_when_unlocked(editor, statements)


def number(model: str, name: str) -> migrations.AddField:
    """Return the field of a number that starts at 0."""
    return migrations.AddField(model, name, models.BigIntegerField(db_default=0))


class Migration(migrations.Migration):
    atomic = False
    dependencies = (("chat", "0007_conflicts_of_chats"),)
    operations = (
        migrations.SeparateDatabaseAndState(
            [migrations.RunPython(add, drop)],
            [
                number("chat", "changes"),
                number("chat", "highest_number"),
                number("chat", "last_message_id"),
                number("message", "change"),
            ],
        ),
    )
