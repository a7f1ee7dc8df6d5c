"""The statements of `persist`; each takes a whole batch as arrays.

Two persisters may overlap, because a frozen one may wake up after another has taken
its lease. Both take locks in the same order (keys of chats, applications, keys
of messages, chats; within each by key), so that they cannot deadlock.

Arrays are sent in PostgreSQL's binary format (the `b` of the placeholders), which
psycopg encodes four times as fast as text. Times are sent as milliseconds and converted
to timestamps here: exact, and cheap to send. Attributes are JSON, taken apart here, which
keeps the text of metadata; they are empty where there are none.
"""

FIND_CHATS = """
SELECT wanted.position, application.id, chat.id, chat.deleted_at IS NOT NULL
FROM unnest(%(tokens)b::text[], %(numbers)b::bigint[])
     WITH ORDINALITY AS wanted (access_token, number, position)
LEFT JOIN applications AS application ON application.access_token = wanted.access_token
LEFT JOIN chats AS chat
       ON chat.application_id = application.id AND chat.number = wanted.number
"""

# Which of the tokens, of no application, are those of deleted ones.
FIND_DELETED = """
SELECT wanted.access_token FROM unnest(%(tokens)b::text[]) AS wanted (access_token)
WHERE is_erased(wanted.access_token, NULL, NULL)
"""

INSERT_CHATS = """
WITH inserted AS (
    INSERT INTO chats (application_id, number, created_at, updated_at, name, metadata)
    SELECT application_id, number, created_at, created_at, given ->> 'name', given -> 'metadata'
    FROM unnest(%(applications)b::bigint[], %(numbers)b::bigint[], %(at)b::bigint[],
                %(attributes)b::text[]) AS wanted (application_id, number, at, attributes),
         LATERAL (SELECT timestamptz 'epoch' + at * interval '1 millisecond' AS created_at,
                      nullif(attributes, '')::json AS given) AS t
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

# Ids are handed out in the order of the stream, so that the chat with the highest
# `last_message_id` is the one that was written to last. The inner query hands them out
# before the rows are sorted for locking.
#
# `late` are the chats and numbers of messages that follow a stored one with a higher number, null
# if there are none: a set-aside entry that was requeued, say. NUMBER_LATE makes them changes.
#
# The lock reads the chats as they are now, not as they were when the statement began: a chat
# that was deleted since it was found is noticed here, and one that is deleted later waits.
_INSERT_MESSAGES = """
WITH inserted AS (
    INSERT INTO messages (id, chat_id, number, body, created_at, updated_at{columns})
    SELECT id, chat_id, number, body, created_at, created_at{values}
    FROM (
        SELECT nextval('messages_id_seq') AS id, entries.*
        FROM unnest(%(chats)b::bigint[], %(numbers)b::bigint[], %(bodies)b::text[],
                    %(at)b::bigint[]{array}) AS entries (chat_id, number, body, at{name})
    ) AS wanted,
    LATERAL (SELECT timestamptz 'epoch' + at * interval '1 millisecond' AS created_at{given}) AS t
    ORDER BY chat_id, number
    ON CONFLICT (chat_id, number) DO NOTHING
    RETURNING id, chat_id, number
), moved AS (
    SELECT chat_id, count(*) AS messages, min(number) AS lowest, max(ARRAY[number, id]) AS last
    FROM inserted GROUP BY chat_id
), locked AS (
    SELECT id, highest_number, deleted_at FROM chats WHERE id IN (SELECT chat_id FROM moved)
    ORDER BY id FOR NO KEY UPDATE
), counted AS (
    UPDATE chats SET message_count = message_count + moved.messages,
        highest_number = greatest(chats.highest_number, last[1]),
        last_message_id = CASE WHEN last[1] > chats.highest_number THEN last[2]
                               ELSE chats.last_message_id END
    FROM moved JOIN locked ON locked.id = moved.chat_id
    WHERE chats.id = moved.chat_id
)
SELECT coalesce(sum(messages), 0)::bigint,
    CASE WHEN bool_or(lowest < highest_number) THEN (
        SELECT array_agg(ARRAY[inserted.chat_id, inserted.number])
        FROM inserted JOIN locked ON locked.id = inserted.chat_id
        WHERE inserted.number < locked.highest_number
    ) END AS late,
    coalesce(bool_or(locked.deleted_at IS NOT NULL), false) AS overtaken
FROM moved JOIN locked ON locked.id = moved.chat_id
"""
INSERT_MESSAGES = _INSERT_MESSAGES.format(columns="", values="", array="", name="", given="")
# For a batch in which there are attributes.
INSERT_MESSAGES_WITH_ATTRIBUTES = _INSERT_MESSAGES.format(
    columns=", sender, metadata, reply_to",
    values=", given ->> 'sender', given -> 'metadata', (given ->> 'reply_to')::bigint",
    array=", %(attributes)b::text[]",
    name=", attributes",
    given=", nullif(attributes, '')::json AS given",
)

# The chats are locked by the insert. The trigger that numbers changes ignores this update,
# as it changes no text.
NUMBER_LATE = """
WITH late AS (
    SELECT chat_id, number, row_number() OVER (PARTITION BY chat_id ORDER BY number) AS position
    FROM unnest(%(chats)b::bigint[], %(numbers)b::bigint[]) AS stored (chat_id, number)
), moved AS (
    SELECT chat_id, count(*) AS messages FROM late GROUP BY chat_id
), counted AS (
    UPDATE chats SET changes = changes + moved.messages
    FROM moved WHERE chats.id = moved.chat_id
    RETURNING chats.id, changes - moved.messages AS before
)
UPDATE messages SET change = before + position
FROM late JOIN counted ON counted.id = late.chat_id
WHERE messages.chat_id = late.chat_id AND messages.number = late.number
"""

# The entries of a batch whose number belongs to another message. A row is the entry's
# own if it was created in the same millisecond and has the same content, or was edited
# since. Whatever a tombstone was before it was deleted, nothing is kept beside it: hence the lock,
# without which a deletion may look for conflicts before this one is committed. It is not waited
# for: a deletion locks the message first and then the chat. Needs a snapshot taken after the
# insert: hence a separate statement.
FIND_CONFLICTS = """
SELECT wanted.position
FROM unnest(%(chats)b::bigint[], %(numbers)b::bigint[], %(bodies)b::text[], %(at)b::bigint[],
            %(attributes)b::text[])
     WITH ORDINALITY AS wanted (chat_id, number, body, at, attributes, position)
JOIN messages AS message
  ON message.chat_id = wanted.chat_id AND message.number = wanted.number,
     LATERAL (SELECT nullif(wanted.attributes, '')::json AS given) AS t
WHERE message.deleted_at IS NULL AND NOT (
    message.created_at = timestamptz 'epoch' + wanted.at * interval '1 millisecond'
    AND (message.version > 1 OR message.updated_at > message.created_at
        OR (message.body, message.sender, message.metadata::text, message.reply_to)
            IS NOT DISTINCT FROM (wanted.body, given ->> 'sender', (given -> 'metadata')::text,
                (given ->> 'reply_to')::bigint))
)
ORDER BY wanted.position
FOR SHARE OF message NOWAIT
"""

# The creations of chats whose number belongs to another chat. A row is the entry's own if
# it was created in the same millisecond. The entry may also be older than its row: a row that
# was created for a message has the time of that message.
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

# The creations of chats whose rows were made for a message: they set name and metadata, unless a
# PUT has done so.
FILL_CHATS = """
UPDATE chats SET name = given ->> 'name', metadata = given -> 'metadata', changes = changes + 1
FROM unnest(%(chats)b::bigint[], %(at)b::bigint[], %(attributes)b::text[])
         AS wanted (id, at, attributes),
     LATERAL (SELECT timestamptz 'epoch' + at * interval '1 millisecond' AS created_at,
                  attributes::json AS given) AS entry
WHERE chats.id = wanted.id AND chats.created_at >= entry.created_at
  AND chats.updated_at = chats.created_at AND chats.name IS NULL AND chats.metadata IS NULL
"""

INSERT_CONFLICT = """
INSERT INTO conflicts
       (entry_id, access_token, chat_number, number, body, attributes, accepted_at)
SELECT %(entry_id)s, %(access_token)s::text, %(chat_number)s::bigint, %(number)s::bigint,
       %(body)s, %(attributes)s, %(accepted_at)s
WHERE NOT is_erased(
    %(access_token)s::text,
    coalesce(%(chat_number)s, %(number)s)::bigint,
    CASE WHEN %(chat_number)s::bigint IS NOT NULL THEN %(number)s::bigint END
)
ON CONFLICT (entry_id, access_token) DO NOTHING
"""
