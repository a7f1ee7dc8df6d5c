"""Fill in where each chat ends, batch by batch, then create the index of the changes.

A batch locks BATCH chats for milliseconds, and the index is created concurrently, so
nobody waits. An interrupted migration continues when it is run again.
"""

import sys
import time

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import ProjectState, StateApps
from django.db.models import Q

BATCH = 1000
REPORT_SECONDS = 5.0

# Chats are locked in the order in which the persister locks them. One that got a message
# since the statement began has a higher number already, and is left alone.
FILL = """
WITH batch AS (
    SELECT id FROM chats WHERE id > %s ORDER BY id LIMIT %s FOR NO KEY UPDATE
), filled AS (
    UPDATE chats SET highest_number = last.number, last_message_id = last.id
    FROM batch, LATERAL (
        SELECT id, number FROM messages WHERE chat_id = batch.id ORDER BY number DESC LIMIT 1
    ) AS last
    WHERE chats.id = batch.id AND chats.highest_number < last.number
)
SELECT max(id), count(*) FROM batch
"""
EXPECTED = "SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = 'chats'::regclass"


def fill(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    """Fill in the ends of all chats; report the progress when it takes long."""
    reported = time.monotonic()
    filled = last_id = 0
    with editor.connection.cursor() as cursor:
        while True:
            cursor.execute(FILL, (last_id, BATCH))
            highest, count = cursor.fetchone()
            if highest is None:
                return
            last_id = highest
            filled += count
            if time.monotonic() - reported > REPORT_SECONDS:
                reported = time.monotonic()
                cursor.execute(EXPECTED)
                (expected,) = cursor.fetchone()
                sys.stdout.write(f"\n  {filled:,} of about {expected:,} chats")
                sys.stdout.flush()


class AddIndexAnew(AddIndexConcurrently):
    """Create an index concurrently, also after an attempt that left an invalid one behind."""

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        schema_editor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {self.index.name}")
        super().database_forwards(app_label, schema_editor, from_state, to_state)


class Migration(migrations.Migration):
    atomic = False
    dependencies = (("chat", "0008_changes"),)
    operations = (
        migrations.RunPython(fill, migrations.RunPython.noop),
        AddIndexAnew(
            "message",
            models.Index(
                fields=("chat", "change"), condition=Q(change__gt=0), name="messages_change_idx"
            ),
        ),
    )
