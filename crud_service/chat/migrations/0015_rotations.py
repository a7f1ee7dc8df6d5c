"""Rotated access tokens, and how far each rotation is (see `crud_service.chat.rotations`).

An entry accepted under a former token may be about a chat or a message that was deleted since, so
`is_erased` finds its application by any of its tokens.
"""

import django.db.models.functions.datetime
from django.db import migrations, models

IS_ERASED = """
CREATE OR REPLACE FUNCTION is_erased(token text, chat bigint, message bigint)
RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT FROM deleted_applications WHERE digest = sha256(convert_to(token, 'UTF8'))
    ) OR EXISTS (
        SELECT FROM applications a
        JOIN chats c ON c.application_id = a.id AND c.number = chat
        WHERE {condition} AND (c.deleted_at IS NOT NULL OR EXISTS (
            SELECT FROM messages m
            WHERE m.chat_id = c.id AND m.number = message AND m.deleted_at IS NOT NULL
        ))
    )
$$;
"""
BY_ANY_TOKEN = IS_ERASED.format(
    condition="""a.id = coalesce(
            (SELECT id FROM applications WHERE access_token = token),
            (SELECT application_id FROM rotations WHERE former_token = token)
        )"""
)
BY_ITS_TOKEN = IS_ERASED.format(condition="a.access_token = token")


class Migration(migrations.Migration):
    dependencies = (("chat", "0014_deleting"),)
    operations = (
        migrations.CreateModel(
            name="Rotation",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("application_id", models.BigIntegerField(db_index=True)),
                ("former_token", models.CharField(max_length=24, unique=True)),
                ("idempotency_key", models.CharField(max_length=255)),
                ("answer", models.TextField()),
                ("fence", models.CharField(max_length=64, db_default="")),
                ("finished", models.BooleanField(db_default=False)),
                (
                    "rotated_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
            ],
            options={
                "db_table": "rotations",
                "indexes": [
                    models.Index(
                        fields=["id"],
                        condition=models.Q(("finished", False)),
                        name="rotations_unfinished_idx",
                    )
                ],
            },
        ),
        migrations.RunSQL(BY_ANY_TOKEN, BY_ITS_TOKEN),
    )
