"""A new message's predecessor is looked up by its number first, which nearly always is one less.

A range of lower numbers costs more: before it returns the first of them, PostgreSQL has checked all
entries of the chat on a page of the index.
"""

from django.db import migrations

REPLACE = """
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
        FROM ordered CROSS JOIN LATERAL ({predecessor}
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
        CASE WHEN time_slack + slack <= 8640000000 THEN time_slack + slack END
    FROM fallen WHERE chats.id = fallen.chat_id;
    RETURN NULL;
END $$;
"""
BY_RANGE = """
            SELECT m.created_at FROM messages m
            WHERE m.chat_id = ordered.chat_id AND m.number < ordered.number
            ORDER BY m.number DESC LIMIT 1"""
BY_NUMBER = """
            SELECT coalesce(
                (SELECT m.created_at FROM messages m
                 WHERE m.chat_id = ordered.chat_id AND m.number = ordered.number - 1),
                (SELECT m.created_at FROM messages m
                 WHERE m.chat_id = ordered.chat_id AND m.number < ordered.number
                 ORDER BY m.number DESC LIMIT 1)
            ) AS created_at"""


class Migration(migrations.Migration):
    dependencies = [("chat", "0025_triggers_of_changes")]
    operations = [
        migrations.RunSQL(
            REPLACE.format(predecessor=BY_NUMBER), REPLACE.format(predecessor=BY_RANGE)
        )
    ]
