"""Remember when each chat was changed last, for streams of applications that look for changes.

Every change of a chat or of one of its messages increments `chats.changes`, also one made with SQL;
this trigger records when. Null for chats that were never changed, of which the index has none, so
creations cost what they did. A change within a second of the time noted is not noted again: most
updates of the row then touch no index, as before.
"""

from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps
from django.db.models import Q

from crud_service.chat.unlocked import run_when_unlocked

ADD = """
ALTER TABLE chats ADD COLUMN IF NOT EXISTS changed_at timestamptz;

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
DROP = """
DROP TRIGGER IF EXISTS chats_changed ON chats;
DROP FUNCTION IF EXISTS note_change();
ALTER TABLE chats DROP COLUMN IF EXISTS changed_at;
"""
# An interrupted attempt leaves an invalid index behind.
DROP_INDEX = "DROP INDEX CONCURRENTLY IF EXISTS chats_changed_idx"
CREATE_INDEX = """
CREATE INDEX CONCURRENTLY chats_changed_idx ON chats (application_id, changed_at)
WHERE changed_at IS NOT NULL
"""


def add(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    """Add the column and the trigger."""
    run_when_unlocked(editor, ADD)


def drop(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    """Drop the trigger and the column."""
    run_when_unlocked(editor, DROP)


class Migration(migrations.Migration):
    atomic = False
    dependencies = (("chat", "0016_time_slack"),)
    operations = (
        migrations.SeparateDatabaseAndState(
            [migrations.RunPython(add, drop)],
            [
                migrations.AddField(
                    "chat", "changed_at", models.DateTimeField(null=True, blank=True)
                )
            ],
        ),
        migrations.SeparateDatabaseAndState(
            [
                migrations.RunSQL(DROP_INDEX, migrations.RunSQL.noop),
                migrations.RunSQL(CREATE_INDEX, DROP_INDEX),
            ],
            [
                migrations.AddIndex(
                    "chat",
                    models.Index(
                        fields=("application", "changed_at"),
                        condition=Q(changed_at__isnull=False),
                        name="chats_changed_idx",
                    ),
                )
            ],
        ),
    )
