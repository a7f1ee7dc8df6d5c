"""Remember which place a deleted application had in the list of applications.

Its token is a cursor of that list, which clients page through while others delete. Null for those
that were deleted before.
"""

from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

from crud_service.chat.unlocked import run_when_unlocked

ADD = "ALTER TABLE deleted_applications ADD COLUMN IF NOT EXISTS application_id bigint"
DROP = "ALTER TABLE deleted_applications DROP COLUMN IF EXISTS application_id"


def add(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    """Add the column."""
    run_when_unlocked(editor, ADD)


def drop(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    """Drop the column."""
    run_when_unlocked(editor, DROP)


class Migration(migrations.Migration):
    atomic = False
    dependencies = (("chat", "0023_senders_and_times_are_indexed"),)
    operations = (
        migrations.SeparateDatabaseAndState(
            [migrations.RunPython(add, drop)],
            [
                migrations.AddField(
                    "deletedapplication",
                    "application_id",
                    models.BigIntegerField(null=True, blank=True),
                )
            ],
        ),
    )
