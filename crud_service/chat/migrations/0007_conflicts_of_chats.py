"""A chat whose number was another chat's is a conflict too: it has no chat number of its own."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("chat", "0006_fair_queues")]
    operations = [
        migrations.AlterField(
            model_name="conflict",
            name="chat_number",
            field=models.BigIntegerField(blank=True, null=True),
        ),
        migrations.AlterField(
            model_name="conflict",
            name="body",
            field=models.TextField(blank=True),
        ),
    ]
