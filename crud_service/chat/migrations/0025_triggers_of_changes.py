"""Have changes of messages and chats pass through cheaper triggers that do the same.

messages_changed        numbers a change, as before, and puts it into search_outbox, which was done
                        by a trigger with two transition tables
chats_changed           notes when a chat was changed
messages_timed_again    forgets the order of a chat's times; names its columns now

PostgreSQL parses the condition of a trigger again in each statement that sets a column which the
trigger names, or anything if it names none. A function's conditions are prepared once in a session.
"""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

from crud_service.chat.unlocked import run_when_unlocked

# A chat may be deleted before its messages, in one transaction: then nobody counts. The trigger is
# dropped first, as that takes the strongest lock of these.
CHANGE_MESSAGES = """
DROP TRIGGER IF EXISTS messages_updated ON messages;

CREATE OR REPLACE FUNCTION note_changed_message() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    counted bigint;
    application bigint;
BEGIN
    IF NEW.version <> OLD.version OR NEW.body <> OLD.body
        OR NEW.sender IS DISTINCT FROM OLD.sender
        OR NEW.metadata::text IS DISTINCT FROM OLD.metadata::text
    THEN
        UPDATE chats SET changes = changes + 1 WHERE id = NEW.chat_id
        RETURNING changes, application_id INTO counted, application;
        NEW.change := coalesce(counted, OLD.change);
    END IF;
    IF NEW.version <> OLD.version OR NEW.body <> OLD.body
        OR NEW.sender IS DISTINCT FROM OLD.sender OR NEW.created_at <> OLD.created_at
    THEN
        IF application IS NULL THEN
            SELECT application_id INTO application FROM chats WHERE id = NEW.chat_id;
        END IF;
        INSERT INTO search_outbox (application_id, message_id, chat_id, number)
        VALUES (coalesce(application, 0), NEW.id, NEW.chat_id, NEW.number);
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER messages_changed
    BEFORE UPDATE OF version, body, sender, metadata, created_at ON messages
    FOR EACH ROW EXECUTE FUNCTION note_changed_message();
DROP FUNCTION IF EXISTS number_change();
DROP FUNCTION IF EXISTS enqueue_updated_messages();

CREATE OR REPLACE TRIGGER messages_timed_again
    AFTER UPDATE OF created_at, number, chat_id ON messages FOR EACH ROW
    WHEN (NEW.created_at <> OLD.created_at OR NEW.number <> OLD.number
        OR NEW.chat_id <> OLD.chat_id)
    EXECUTE FUNCTION forget_time_order();
"""
CHANGE_CHATS = """
CREATE OR REPLACE FUNCTION note_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.changes <> OLD.changes AND (OLD.changed_at IS NULL
        OR OLD.changed_at < clock_timestamp() - interval '1 second')
    THEN
        NEW.changed_at := clock_timestamp();
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER chats_changed BEFORE UPDATE OF changes ON chats
    FOR EACH ROW EXECUTE FUNCTION note_change();
"""

RESTORE_MESSAGES = """
CREATE OR REPLACE FUNCTION number_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    counted bigint;
BEGIN
    UPDATE chats SET changes = changes + 1 WHERE id = NEW.chat_id RETURNING changes INTO counted;
    NEW.change := coalesce(counted, OLD.change);
    RETURN NEW;
END $$;

CREATE OR REPLACE FUNCTION enqueue_updated_messages() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO search_outbox (application_id, message_id, chat_id, number)
    SELECT coalesce(chats.application_id, 0), changed.id, changed.chat_id, changed.number
    FROM changed JOIN replaced USING (id) LEFT JOIN chats ON chats.id = changed.chat_id
    WHERE changed.version <> replaced.version OR changed.body <> replaced.body
        OR changed.sender IS DISTINCT FROM replaced.sender
        OR changed.created_at <> replaced.created_at;
    RETURN NULL;
END $$;

CREATE OR REPLACE TRIGGER messages_changed BEFORE UPDATE ON messages FOR EACH ROW
    WHEN (NEW.version <> OLD.version OR NEW.body <> OLD.body
        OR NEW.sender IS DISTINCT FROM OLD.sender
        OR NEW.metadata::text IS DISTINCT FROM OLD.metadata::text)
    EXECUTE FUNCTION number_change();
CREATE OR REPLACE TRIGGER messages_updated AFTER UPDATE ON messages
    REFERENCING NEW TABLE AS changed OLD TABLE AS replaced
    FOR EACH STATEMENT EXECUTE FUNCTION enqueue_updated_messages();
DROP FUNCTION IF EXISTS note_changed_message();

CREATE OR REPLACE TRIGGER messages_timed_again AFTER UPDATE ON messages FOR EACH ROW
    WHEN (NEW.created_at <> OLD.created_at OR NEW.number <> OLD.number
        OR NEW.chat_id <> OLD.chat_id)
    EXECUTE FUNCTION forget_time_order();
"""
RESTORE_CHATS = """
CREATE OR REPLACE FUNCTION note_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.changed_at := clock_timestamp();
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER chats_changed BEFORE UPDATE ON chats FOR EACH ROW
    WHEN (NEW.changes <> OLD.changes AND (OLD.changed_at IS NULL
        OR OLD.changed_at < clock_timestamp() - interval '1 second'))
    EXECUTE FUNCTION note_change();
"""


def change(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    """Replace the triggers, each table's under its lock for a moment."""
    for statements in (CHANGE_MESSAGES, CHANGE_CHATS):
        run_when_unlocked(editor, statements)


def restore(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    """Restore the former triggers."""
    for statements in (RESTORE_CHATS, RESTORE_MESSAGES):
        run_when_unlocked(editor, statements)


class Migration(migrations.Migration):
    atomic = False
    dependencies = (("chat", "0024_places_of_the_deleted"),)
    operations = (migrations.RunPython(change, restore),)
