"""An application's own rate limit, and an index of the few applications that have one."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    # The index is created without a lock. The columns have no default and no constraint, so adding
    # them reads no row.
    atomic = False
    dependencies = (("chat", "0010_active_chats"),)
    operations = (
        migrations.AddField(
            "application", "rate_limit", models.IntegerField(null=True, blank=True)
        ),
        migrations.AddField(
            "application", "rate_burst", models.IntegerField(null=True, blank=True)
        ),
        AddIndexConcurrently(
            "application",
            models.Index(
                fields=("id",),
                condition=Q(rate_limit__isnull=False),
                name="applications_limited_idx",
            ),
        ),
    )
