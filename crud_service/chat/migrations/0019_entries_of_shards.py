"""Two shards may give the same id to an entry each: both are kept, in conflicts and set aside."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("chat", "0018_shards")]
    operations = [
        migrations.AddConstraint(
            "conflict",
            models.UniqueConstraint(
                fields=("entry_id", "access_token"), name="conflicts_entry_key"
            ),
        ),
        migrations.AddConstraint(
            "setasideentry",
            models.UniqueConstraint(
                fields=("entry_id", "access_token"), name="set_aside_entry_key"
            ),
        ),
        migrations.AlterField("conflict", "entry_id", models.CharField(max_length=64)),
        migrations.AlterField("setasideentry", "entry_id", models.CharField(max_length=64)),
    ]
