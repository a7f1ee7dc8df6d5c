"""The statements of `persist`; each takes a whole batch as arrays.

Two persisters may overlap, because a frozen one may wake up after another has taken
its lease. Both take locks in the same order (keys of chats, applications, keys
of messages, chats; within each by key), so that they cannot deadlock.

Arrays are sent in PostgreSQL's binary format (the `b` of the placeholders), which
psycopg encodes four times as fast as text. Times are sent as milliseconds and converted
to timestamps here: exact, and cheap to send.
"""

FIND_CHATS = """
SELECT wanted.position, application.id, chat.id
FROM unnest(%(tokens)b::text[], %(numbers)b::bigint[])
     WITH ORDINALITY AS wanted (access_token, number, position)
LEFT JOIN applications AS application ON application.access_token = wanted.access_token
LEFT JOIN chats AS chat
       ON chat.application_id = application.id AND chat.number = wanted.number
"""

INSERT_CHATS = """
WITH inserted AS (
    INSERT INTO chats (application_id, number, created_at, updated_at)
    SELECT application_id, number, created_at, created_at
    FROM unnest(%(applications)b::bigint[], %(numbers)b::bigint[], %(at)b::bigint[])
         AS wanted (application_id, number, at),
         LATERAL (SELECT timestamptz 'epoch' + at * interval '1 millisecond' AS created_at) AS t
    ORDER BY application_id, number
    ON CONFLICT (application_id, number) DO NOTHING
    RETURNING application_id
), moved AS (
    SELECT application_id, count(*) AS chats FROM inserted GROUP BY application_id
), locked AS (
    SELECT id FROM applications WHERE id IN (SELECT application_id FROM moved)
    ORDER BY id FOR NO KEY UPDATE
), counted AS (
    UPDATE applications SET chat_count = chat_count + moved.chats
    FROM moved JOIN locked ON locked.id = moved.application_id
    WHERE applications.id = moved.application_id
)
SELECT coalesce(sum(chats), 0)::bigint FROM moved
"""

INSERT_MESSAGES = """
WITH inserted AS (
    INSERT INTO messages (chat_id, number, body, created_at, updated_at)
    SELECT chat_id, number, body, created_at, created_at
    FROM unnest(%(chats)b::bigint[], %(numbers)b::bigint[], %(bodies)b::text[], %(at)b::bigint[])
         AS wanted (chat_id, number, body, at),
         LATERAL (SELECT timestamptz 'epoch' + at * interval '1 millisecond' AS created_at) AS t
    ORDER BY chat_id, number
    ON CONFLICT (chat_id, number) DO NOTHING
    RETURNING chat_id
), moved AS (
    SELECT chat_id, count(*) AS messages FROM inserted GROUP BY chat_id
), locked AS (
    SELECT id FROM chats WHERE id IN (SELECT chat_id FROM moved)
    ORDER BY id FOR NO KEY UPDATE
), counted AS (
    UPDATE chats SET message_count = message_count + moved.messages
    FROM moved JOIN locked ON locked.id = moved.chat_id
    WHERE chats.id = moved.chat_id
)
SELECT coalesce(sum(messages), 0)::bigint FROM moved
"""

# The entries of a batch whose number belongs to another message. A row is the entry's
# own if it was created in the same millisecond and has the same body, or was edited
# since. Needs a snapshot taken after the insert: hence a separate statement.
FIND_CONFLICTS = """
SELECT wanted.position
FROM unnest(%(chats)b::bigint[], %(numbers)b::bigint[], %(bodies)b::text[], %(at)b::bigint[])
     WITH ORDINALITY AS wanted (chat_id, number, body, at, position)
JOIN messages AS message
  ON message.chat_id = wanted.chat_id AND message.number = wanted.number
WHERE NOT (
    message.created_at = timestamptz 'epoch' + wanted.at * interval '1 millisecond'
    AND (message.version > 1 OR message.body = wanted.body)
)
ORDER BY wanted.position
"""

# The creations of chats whose number belongs to another chat. A row is the entry's own if
# it was created in the same millisecond. The entry may also be older than its row, if the
# row was created for a message, whose time of creation it then has.
FIND_CHAT_CONFLICTS = """
SELECT wanted.position
FROM unnest(%(chats)b::bigint[], %(at)b::bigint[]) WITH ORDINALITY AS wanted (id, at, position)
JOIN chats AS chat ON chat.id = wanted.id,
     LATERAL (SELECT timestamptz 'epoch' + at * interval '1 millisecond' AS created_at) AS entry
WHERE chat.created_at < entry.created_at
   OR chat.created_at > entry.created_at AND NOT EXISTS (
       SELECT FROM messages
       WHERE messages.chat_id = chat.id AND messages.created_at = chat.created_at)
ORDER BY wanted.position
"""

INSERT_CONFLICT = """
INSERT INTO conflicts (entry_id, access_token, chat_number, number, body, accepted_at)
VALUES (%(entry_id)s, %(access_token)s, %(chat_number)s, %(number)s, %(body)s, %(accepted_at)s)
ON CONFLICT (entry_id) DO NOTHING
"""
