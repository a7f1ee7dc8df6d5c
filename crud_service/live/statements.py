"""The SQL of streams; PostgreSQL renders the events as text, in the format that clients read.

The format is that of server-sent events (WHATWG HTML, 9.2). JSON as PostgreSQL renders it has
no raw line end, so an event's data is always one line.
"""

from crud_service.chat.list_queries import ACTIVITY
from crud_service.chat.reading import MESSAGE_BYTES, as_json, batched, message_json

# One read of a chat ends after this many messages, or once it holds this many bytes of text.
EVENTS_A_READ = 200
BYTES_A_READ = 128 * 1024
# How many chats of an application one read covers, with an event for each.
CHATS_A_READ = 500

_EVENT = message_json(more={"chat_number": "c.number"})
_STATE = as_json(
    {
        "chat_number": "x.number",
        "highest_number": "x.highest_number",
        "highest_change": "x.changes",
    }
)

# id, highest number and last change of a chat
OPEN_CHAT = batched(
    "token, chat",
    """
    SELECT concat_ws(' ', c.id, c.highest_number, c.changes)
    FROM applications a JOIN chats c ON c.application_id = a.id AND c.number = q.chat
    WHERE a.access_token = q.token AND c.deleted_at IS NULL""",
)

# id of an application, and the highest id of a message that was the last of its chat
OPEN_APPLICATION = batched(
    "token",
    f"""
    SELECT concat_ws(' ', a.id, (
        SELECT greatest(max({ACTIVITY}), 0) FROM chats c WHERE c.application_id = a.id))
    FROM applications a WHERE a.access_token = q.token""",
)


def _events(name: str, event_id: str, order: str, which: str) -> str:
    """Return a query of the events of some messages: their text, the last, whether more follow.

    `name` is SQL for the name of an event.
    """
    return f"""
        SELECT coalesce(count(*) < max(x.found), false) OR count(*) = {EVENTS_A_READ} AS more,
            max(x.{order}) AS last,
            string_agg(concat('event: ', {name}, E'\\nid: ', {event_id}, E'\\ndata: ', {_EVENT},
                E'\\n\\n'), '' ORDER BY x.{order}) AS text
        FROM (
            SELECT x.*, count(*) OVER () AS found,
                sum({MESSAGE_BYTES}) OVER (ORDER BY x.{order}) - {MESSAGE_BYTES}
                    AS bytes_before
            FROM (
                SELECT x.* FROM messages x WHERE x.chat_id = c.id AND {which}
                ORDER BY x.{order} LIMIT {EVENTS_A_READ}
            ) x
        ) x WHERE x.bytes_before < {BYTES_A_READ}"""


# A line with the cursor after the events and whether there are more (0 or 1), then the events.
# Changes of messages up to the cursor come first. Only once there are no more of them do the
# messages after it follow, with their latest texts, so that every change has been sent by then
# and the cursor moves to the chat's last change. `x.change > 0` is the condition of the partial
# index, which the planner cannot infer from a parameter. A message after the cursor that was
# deleted already is created as the tombstone that it is, so that no number is skipped. NULL if
# the chat or its application was deleted, or if the application has another token by now.
FOLLOW = batched(
    "token, chat, number, change",
    f"""
    SELECT concat(
        CASE WHEN u.more THEN concat(q.number, '.', u.last)
            ELSE concat(coalesce(n.last, q.number), '.', greatest(c.changes, q.change)) END,
        ' ', (u.more OR coalesce(n.more, false))::int, E'\\n', u.text, n.text)
    FROM chats c
    CROSS JOIN LATERAL ({
        _events(
            "CASE WHEN x.deleted_at IS NULL THEN 'message.updated' ELSE 'message.deleted' END",
            "concat(q.number, '.', x.change)",
            "change",
            "x.change > q.change AND x.change > 0 AND x.number <= q.number",
        )
    }) u
    LEFT JOIN LATERAL ({
        _events(
            "'message.created'",
            "concat(x.number, '.', greatest(c.changes, q.change))",
            "number",
            "x.number > q.number",
        )
    }) n ON NOT u.more
    WHERE c.id = q.chat AND c.deleted_at IS NULL AND EXISTS (
        SELECT FROM applications a WHERE a.id = c.application_id AND a.access_token = q.token)""",
)

# Of the chats with these numbers (joined by spaces) of an application: a line with a word for
# each, `<number>:<id of its last message>:<last change>`, then an event with the state of each.
# NULL if the application was deleted, or has another token by now.
CHATS = batched(
    "token, application, numbers",
    f"""
    SELECT CASE WHEN EXISTS (
            SELECT FROM applications a WHERE a.id = q.application AND a.access_token = q.token)
        THEN concat(
        string_agg(concat_ws(':', x.number, x.last_message_id, x.changes), ' ' ORDER BY x.number),
        E'\\n',
        string_agg(concat(E'event: chat.changed\\ndata: ', {_STATE}, E'\\n\\n'), ''
            ORDER BY x.number)) END
    FROM chats x
    WHERE x.application_id = q.application
        AND x.number = ANY(string_to_array(q.numbers, ' ')::bigint[])""",
)

# Which of those chats, by their positions, have more than their cursors say, or have to end:
# `FOLLOW`, whose parameters these are, finds nothing.
CHATS_AHEAD = """
SELECT q.position
FROM unnest(string_to_array(%s, ','), string_to_array(%s, ',')::bigint[],
    string_to_array(%s, ',')::bigint[], string_to_array(%s, ',')::bigint[])
    WITH ORDINALITY AS q (token, chat, number, change, position)
LEFT JOIN chats c ON c.id = q.chat AND c.deleted_at IS NULL
LEFT JOIN applications a ON a.id = c.application_id AND a.access_token = q.token
WHERE a.id IS NULL OR c.highest_number > q.number OR c.changes > q.change
"""

# How long a look finds a change, in case its transaction was committed after the look before. The
# time of a change is that of one up to a second earlier.
_FOUND_SECONDS = 15

# For each application, which is named by its position: the chats written to since a message with
# the given id was the last one, each with the id of its last message; then the chats changed since
# the feed began, `age` seconds ago, each with the number of its last change. There are none if the
# application was deleted, or has another token by now.
WRITTEN_CHATS = f"""
WITH q AS (
    SELECT * FROM unnest(string_to_array(%s, ','), string_to_array(%s, ',')::bigint[],
        string_to_array(%s, ',')::bigint[], string_to_array(%s, ',')::float8[])
        WITH ORDINALITY AS q (token, application, seen, age, position)
)
SELECT q.position, x.number, x.last_message_id, NULL::bigint AS change
FROM q CROSS JOIN LATERAL (
    SELECT c.number, c.last_message_id FROM chats c
    WHERE c.application_id = q.application AND {ACTIVITY} > q.seen
    ORDER BY {ACTIVITY} LIMIT {CHATS_A_READ}
) x
UNION ALL
SELECT q.position, x.number, NULL, x.changes
FROM q CROSS JOIN LATERAL (
    SELECT c.number, c.changes FROM chats c
    WHERE c.application_id = q.application
        AND c.changed_at > now() - least(q.age + 1, {_FOUND_SECONDS}) * interval '1 second'
    ORDER BY c.changed_at DESC LIMIT {CHATS_A_READ}
) x
UNION ALL
SELECT q.position, NULL, NULL, NULL FROM q
WHERE NOT EXISTS (
    SELECT FROM applications a WHERE a.id = q.application AND a.access_token = q.token)
ORDER BY last_message_id
"""
