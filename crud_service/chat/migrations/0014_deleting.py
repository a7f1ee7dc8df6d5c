"""What is deleted: marks on rows, what is still to be erased, and the tokens that are gone.

deleted_at             when a message, a chat or an application was deleted. A deleted message
                       is a tombstone: its row stays, without its text. A deleted application has
                       another token, so that no statement finds it by its own
deletions              chats and applications whose rows are still being erased
deleted_applications   digests of the tokens of deleted applications: entries accepted for them
                       are dropped, whenever they are found

An erased text must not come back in the tables of what could not be stored: `is_erased` returns
whether the message, chat or application of an entry was deleted. A transaction that erases many
rows of `messages` removes them from search itself, and sets `SET LOCAL chat.erasing = 'on'`.

Columns that are null rewrite no table (see `run_when_unlocked` for their locks).
"""

import django.db.models.functions.datetime
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

from crud_service.chat.unlocked import run_when_unlocked

MARKED = ("messages", "chats", "applications")

CREATE = """
CREATE OR REPLACE FUNCTION is_erased(token text, chat bigint, message bigint)
RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT FROM deleted_applications WHERE digest = sha256(convert_to(token, 'UTF8'))
    ) OR EXISTS (
        SELECT FROM applications a
        JOIN chats c ON c.application_id = a.id AND c.number = chat
        WHERE a.access_token = token AND (c.deleted_at IS NOT NULL OR EXISTS (
            SELECT FROM messages m
            WHERE m.chat_id = c.id AND m.number = message AND m.deleted_at IS NOT NULL
        ))
    )
$$;

CREATE OR REPLACE FUNCTION enqueue_messages() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND current_setting('chat.erasing', true) = 'on' THEN
        RETURN NULL;
    END IF;
    INSERT INTO search_outbox (application_id, message_id, chat_id, number)
    SELECT coalesce(chats.application_id, 0), changed.id, changed.chat_id, changed.number
    FROM changed LEFT JOIN chats ON chats.id = changed.chat_id;
    RETURN NULL;
END $$;

-- A deleted application is counted no more from the moment that it is marked.
CREATE OR REPLACE FUNCTION count_applications() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        UPDATE application_totals SET total = 0;
    ELSE
        UPDATE application_totals
        SET total = total + (SELECT count(*) FROM changed WHERE deleted_at IS NULL)
            * CASE TG_OP WHEN 'INSERT' THEN 1 ELSE -1 END
        WHERE slot = pg_backend_pid() % 16;
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION count_deleted_application() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE application_totals SET total = total - 1 WHERE slot = pg_backend_pid() % 16;
    RETURN NULL;
END $$;

CREATE OR REPLACE TRIGGER applications_marked AFTER UPDATE ON applications FOR EACH ROW
    WHEN (OLD.deleted_at IS NULL AND NEW.deleted_at IS NOT NULL)
    EXECUTE FUNCTION count_deleted_application();
"""

DROP = """
DROP TRIGGER IF EXISTS applications_marked ON applications;
DROP FUNCTION IF EXISTS count_deleted_application();
DROP FUNCTION IF EXISTS is_erased(text, bigint, bigint);

CREATE OR REPLACE FUNCTION enqueue_messages() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO search_outbox (application_id, message_id, chat_id, number)
    SELECT coalesce(chats.application_id, 0), changed.id, changed.chat_id, changed.number
    FROM changed LEFT JOIN chats ON chats.id = changed.chat_id;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION count_applications() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        UPDATE application_totals SET total = 0;
    ELSE
        UPDATE application_totals
        SET total = total
            + (SELECT count(*) FROM changed) * CASE TG_OP WHEN 'INSERT' THEN 1 ELSE -1 END
        WHERE slot = pg_backend_pid() % 16;
    END IF;
    RETURN NULL;
END $$;
"""

# An interrupted attempt leaves some of these behind, still empty; creating them again would fail.
DROP_LEFTOVERS = """
DROP TABLE IF EXISTS deletions, deleted_applications;
DROP INDEX IF EXISTS conflicts_sequence_idx;
"""


def add_columns(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    """Add the marks."""
    for table in MARKED:
        run_when_unlocked(
            editor, f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS deleted_at timestamptz"
        )


def drop_columns(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    """Drop the marks."""
    for table in MARKED:
        run_when_unlocked(editor, f"ALTER TABLE {table} DROP COLUMN IF EXISTS deleted_at")


def create(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    """Create the functions and the trigger."""
    run_when_unlocked(editor, CREATE)


def drop(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    """Restore the functions and drop the trigger."""
    run_when_unlocked(editor, DROP)


def mark(model: str) -> migrations.AddField:
    return migrations.AddField(model, "deleted_at", models.DateTimeField(null=True, blank=True))


class Migration(migrations.Migration):
    atomic = False
    dependencies = (("chat", "0013_attributes"),)
    operations = (
        migrations.SeparateDatabaseAndState(
            [migrations.RunPython(add_columns, drop_columns)],
            [mark("message"), mark("chat"), mark("application")],
        ),
        migrations.RunSQL(DROP_LEFTOVERS, migrations.RunSQL.noop),
        migrations.CreateModel(
            name="Deletion",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("application_id", models.BigIntegerField()),
                ("chat_id", models.BigIntegerField(null=True, blank=True)),
                ("access_token", models.CharField(max_length=24)),
                ("chat_number", models.BigIntegerField(null=True, blank=True)),
                ("erased", models.BigIntegerField(db_default=0)),
                (
                    "requested_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
            ],
            options={"db_table": "deletions"},
        ),
        migrations.CreateModel(
            name="DeletedApplication",
            fields=[
                ("digest", models.BinaryField(primary_key=True, serialize=False)),
                (
                    "deleted_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
            ],
            options={"db_table": "deleted_applications"},
        ),
        migrations.AddIndex(
            model_name="conflict",
            index=models.Index(
                fields=("access_token", "chat_number", "number"), name="conflicts_sequence_idx"
            ),
        ),
        migrations.RunPython(create, drop),
    )
