"""Failures of indexing: deleted once their message is folded again, or retried by an operator."""

from collections.abc import Sequence

from django.db import connection

# Rows are locked in the order of their ids, so that two processes cannot deadlock. A row that
# another process holds is being forgotten or retried at this moment.
FORGET = """
DELETE FROM search_failures WHERE message_id = ANY (ARRAY(
    SELECT message_id FROM search_failures WHERE message_id = ANY (%b::bigint[])
    ORDER BY message_id FOR UPDATE SKIP LOCKED
))
"""
# An existing message takes the whole way again, whatever step failed. Of a deleted one, only the
# document can be left: its deletion goes to Elasticsearch, as a change of no chat, so that no
# chat's searches wait for it. Retries are work of application 0, like repairs.
RETRY = f"""
WITH retried AS ({FORGET} RETURNING message_id), existing AS (
    INSERT INTO search_outbox (message_id, chat_id, number)
    SELECT messages.id, messages.chat_id, messages.number
    FROM retried JOIN messages ON messages.id = retried.message_id
    ORDER BY messages.id
), deleted AS (
    INSERT INTO search_queue (message_id, chat_id, number, changed_at)
    SELECT message_id, 0, 0, now() FROM retried
    WHERE NOT EXISTS (SELECT FROM messages WHERE messages.id = retried.message_id)
      AND EXISTS (SELECT FROM search_state WHERE index_name <> '')
)
SELECT count(*) FROM retried
"""


def retry_failures(message_ids: Sequence[int]) -> int:
    """Queue failed messages to be indexed again; return how many had a failure."""
    with connection.cursor() as cursor:
        cursor.execute(RETRY, (list(message_ids),))
        (count,) = cursor.fetchone() or (0,)
    return int(count)
