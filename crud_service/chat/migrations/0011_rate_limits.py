"""An application's own rate limit, and an index of the few applications that have one.

The columns have no default and no constraint, so adding them reads no row.
"""

from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps
from django.db.models import Q

from crud_service.chat.unlocked import run_when_unlocked

ADD = """
ALTER TABLE applications ADD COLUMN IF NOT EXISTS rate_limit integer,
                         ADD COLUMN IF NOT EXISTS rate_burst integer
"""
DROP = """
ALTER TABLE applications DROP COLUMN IF EXISTS rate_limit, DROP COLUMN IF EXISTS rate_burst
"""

# An interrupted attempt leaves an invalid index behind.
DROP_INDEX = "DROP INDEX CONCURRENTLY IF EXISTS applications_limited_idx"
CREATE_INDEX = """
CREATE INDEX CONCURRENTLY applications_limited_idx ON applications (id)
WHERE rate_limit IS NOT NULL
"""


def add(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    """Add the columns."""
    run_when_unlocked(editor, ADD)


def drop(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    """Drop the columns."""
    run_when_unlocked(editor, DROP)


class Migration(migrations.Migration):
    atomic = False
    dependencies = (("chat", "0010_active_chats"),)
    operations = (
        migrations.SeparateDatabaseAndState(
            [migrations.RunPython(add, drop)],
            [
                migrations.AddField(
                    "application", "rate_limit", models.IntegerField(null=True, blank=True)
                ),
                migrations.AddField(
                    "application", "rate_burst", models.IntegerField(null=True, blank=True)
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
                    "application",
                    models.Index(
                        fields=("id",),
                        condition=Q(rate_limit__isnull=False),
                        name="applications_limited_idx",
                    ),
                )
            ],
        ),
    )
