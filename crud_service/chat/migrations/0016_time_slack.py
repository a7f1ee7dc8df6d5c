"""Remember how far the times of a chat's messages fall behind the order of their numbers.

chats.time_slack    milliseconds; a message is at most this much older than any message with a lower
                    number. 0 as a rule, as numbers are handed out in the order of time. Null if
                    it is not known, or larger than MOST
number_at           the number at which messages begin to be created at a time or later, found by
                    bisection over the index of numbers: with it a filter by time reads what it
                    lets through, without an index of times, which every message would pay for

What follows from the slack s, and holds for rows from any source: a message before
`number_at(chat, t)` was created before t + s, any other at t - s or later.

The trigger adds to the slack each time by which a message is older than its predecessor: the sum
is no less than any difference between two messages. If somebody changes the time, number or
chat of a message, the slack is unknown from then on.
"""

from typing import Any

from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps
from django.db.transaction import atomic

from crud_service.chat.unlocked import run_when_unlocked

# Chats in a transaction, and their messages; a chat of more is measured alone.
BATCH = 200
BATCH_MESSAGES = 100_000
MOST = 100 * 24 * 3600 * 1000

ADD = """
ALTER TABLE chats ADD COLUMN IF NOT EXISTS time_slack bigint;

CREATE OR REPLACE FUNCTION number_at(chat bigint, moment timestamptz)
RETURNS bigint LANGUAGE plpgsql STABLE STRICT SET enable_seqscan = off AS $$
DECLARE
    low bigint := 1;
    high bigint;
    middle bigint;
    found_number bigint;
    found_at timestamptz;
BEGIN
    SELECT coalesce(max(number), 0) + 1 INTO high FROM messages WHERE chat_id = chat;
    WHILE low < high LOOP
        middle := low + (high - low) / 2;
        SELECT number, created_at INTO found_number, found_at FROM messages
        WHERE chat_id = chat AND number >= middle ORDER BY number LIMIT 1;
        IF found_at < moment THEN
            low := found_number + 1;
        ELSE
            high := middle;
        END IF;
    END LOOP;
    RETURN low;
END $$;
"""

# Seen from a message, its neighbours are mostly in the same statement; only the others are looked
# up. `enable_seqscan`: the plan is made while the table is small, and kept.
CREATE = f"""
CREATE OR REPLACE FUNCTION note_time_order() RETURNS trigger
LANGUAGE plpgsql SET enable_seqscan = off AS $$
BEGIN
    WITH ordered AS MATERIALIZED (
        SELECT chat_id, number, created_at, lag(number) OVER chat AS number_before,
            lag(created_at) OVER chat AS time_before, lead(number) OVER chat AS number_behind
        FROM changed WINDOW chat AS (PARTITION BY chat_id ORDER BY number)
    ), falls AS (
        SELECT chat_id, time_before - created_at AS fall FROM ordered
        WHERE number_before = number - 1 AND time_before > created_at
        UNION ALL
        SELECT ordered.chat_id, before.created_at - ordered.created_at
        FROM ordered CROSS JOIN LATERAL (
            SELECT m.created_at FROM messages m
            WHERE m.chat_id = ordered.chat_id AND m.number < ordered.number
            ORDER BY m.number DESC LIMIT 1
        ) AS before
        WHERE number_before IS DISTINCT FROM number - 1
            AND before.created_at > ordered.created_at
        UNION ALL
        SELECT ordered.chat_id, ordered.created_at - behind.created_at
        FROM ordered CROSS JOIN LATERAL (
            SELECT m.created_at FROM messages m
            WHERE m.chat_id = ordered.chat_id AND m.number > ordered.number
            ORDER BY m.number LIMIT 1
        ) AS behind
        WHERE number_behind IS DISTINCT FROM number + 1
            AND ordered.created_at > behind.created_at
    ), fallen AS (
        SELECT chat_id, sum(ceil(extract(epoch FROM fall) * 1000)) AS slack
        FROM falls GROUP BY chat_id
    )
    UPDATE chats SET time_slack =
        CASE WHEN time_slack + slack <= {MOST} THEN time_slack + slack END
    FROM fallen WHERE chats.id = fallen.chat_id;
    RETURN NULL;
END $$;

CREATE OR REPLACE TRIGGER messages_timed AFTER INSERT ON messages
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION note_time_order();

CREATE OR REPLACE FUNCTION forget_time_order() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE chats SET time_slack = NULL
    WHERE id IN (OLD.chat_id, NEW.chat_id) AND time_slack IS NOT NULL;
    RETURN NULL;
END $$;

CREATE OR REPLACE TRIGGER messages_timed_again AFTER UPDATE ON messages FOR EACH ROW
    WHEN (NEW.created_at <> OLD.created_at OR NEW.number <> OLD.number
        OR NEW.chat_id <> OLD.chat_id)
    EXECUTE FUNCTION forget_time_order();
"""

# Not before the triggers are there: nothing would count the messages of a chat that is created
# meanwhile. Like those that exist, it is null until it is measured.
START = "ALTER TABLE chats ALTER COLUMN time_slack SET DEFAULT 0"

STEPS = (ADD, CREATE, START)

DROP_TRIGGERS = """
DROP TRIGGER IF EXISTS messages_timed ON messages;
DROP TRIGGER IF EXISTS messages_timed_again ON messages;
DROP FUNCTION IF EXISTS note_time_order();
DROP FUNCTION IF EXISTS forget_time_order();
"""
DROP_COLUMN = """
DROP FUNCTION IF EXISTS number_at(bigint, timestamptz);
ALTER TABLE chats DROP COLUMN IF EXISTS time_slack;
"""

FIND_BATCH = """
SELECT id FROM (
    SELECT id, sum(message_count) OVER (ORDER BY id) - message_count AS messages_before,
        sum(message_count) OVER (ORDER BY id) AS messages
    FROM (
        SELECT id, message_count FROM chats WHERE id > %s AND time_slack IS NULL
        ORDER BY id LIMIT %s
    ) AS next
) AS counted
WHERE messages_before = 0 OR messages <= %s
ORDER BY id
"""
# Locked first, so that the next statement sees every message that the trigger did not count.
LOCK_BATCH = "SELECT FROM chats WHERE id = ANY (%s) ORDER BY id FOR NO KEY UPDATE"
FILL = f"""
UPDATE chats SET time_slack = CASE WHEN slack <= {MOST} THEN slack END
FROM unnest(%s::bigint[]) AS batch (id), LATERAL (
    SELECT coalesce(sum(ceil(extract(epoch FROM time_before - created_at) * 1000))
        FILTER (WHERE time_before > created_at), 0) AS slack
    FROM (
        SELECT created_at, lag(created_at) OVER (ORDER BY number) AS time_before
        FROM messages WHERE chat_id = batch.id
    ) AS ordered
) AS measured
WHERE chats.id = batch.id
"""


def add(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    """Add the column, then the triggers, each under its table's lock for a moment."""
    for statements in STEPS:
        run_when_unlocked(editor, statements)


def drop(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    """Drop the triggers and the column."""
    run_when_unlocked(editor, DROP_TRIGGERS)
    run_when_unlocked(editor, DROP_COLUMN)


def fill(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    """Measure the chats that exist, batch by batch; an interrupted run goes on with the rest."""
    last_id: int | None = 0
    while last_id is not None:
        with atomic(editor.connection.alias), editor.connection.cursor() as cursor:
            last_id = fill_batch(cursor, last_id)


def fill_batch(cursor: Any, last_id: int, batch_messages: int = BATCH_MESSAGES) -> int | None:
    """Measure the next chats behind an id, so few that a PUT of one can wait for the lock.

    Returns the id of the last one, None if there is none.
    """
    cursor.execute(FIND_BATCH, (last_id, BATCH, batch_messages))
    ids: list[int] = [id for (id,) in cursor.fetchall()]
    if not ids:
        return None
    cursor.execute(LOCK_BATCH, (ids,))
    cursor.execute(FILL, (ids,))
    return ids[-1]


class Migration(migrations.Migration):
    atomic = False
    dependencies = (("chat", "0015_rotations"),)
    operations = (
        migrations.SeparateDatabaseAndState(
            [migrations.RunPython(add, drop)],
            [
                migrations.AddField(
                    "chat",
                    "time_slack",
                    models.BigIntegerField(null=True, blank=True, db_default=0),
                )
            ],
        ),
        migrations.RunPython(fill, migrations.RunPython.noop),
    )
