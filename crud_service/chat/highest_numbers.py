"""From which number a missing sequence goes on, and which applications there are."""

from collections.abc import Sequence
from typing import NamedTuple

from crud_service.stores.database import fetch_one

# A number counts as taken when it is stored, and just as much when its entry could not be stored:
# seeding below it would hand it out a second time. That holds without an application as well, for
# it may come back with a backup. A chat whose number was taken exists, since its creation or a
# message of it was answered.
HIGHEST_CHAT = """
SELECT a.id IS NOT NULL, greatest(
    (SELECT max(c.number) FROM chats c WHERE c.application_id = a.id),
    (SELECT max(s.number) FROM set_aside_entries s
     WHERE s.access_token = wanted.access_token AND s.chat_number IS NULL),
    (SELECT max(f.number) FROM conflicts f
     WHERE f.access_token = wanted.access_token AND f.chat_number IS NULL),
    0)
FROM (SELECT %s::text AS access_token) wanted
LEFT JOIN applications a ON a.access_token = wanted.access_token
"""
HIGHEST_MESSAGE = """
SELECT a.id IS NOT NULL AND (c.id IS NOT NULL OR set_aside.number IS NOT NULL OR EXISTS (
        SELECT FROM set_aside_entries s WHERE s.access_token = wanted.access_token
        AND s.chat_number IS NULL AND s.number = wanted.chat_number)),
    greatest(
    (SELECT max(m.number) FROM messages m WHERE m.chat_id = c.id),
    (SELECT max(f.number) FROM conflicts f
     WHERE f.access_token = wanted.access_token AND f.chat_number = wanted.chat_number),
    set_aside.number,
    0)
FROM (SELECT %s::text AS access_token, %s::bigint AS chat_number) wanted
LEFT JOIN applications a ON a.access_token = wanted.access_token
LEFT JOIN chats c ON c.application_id = a.id AND c.number = wanted.chat_number
CROSS JOIN LATERAL (
    SELECT max(s.number) AS number FROM set_aside_entries s
    WHERE s.access_token = wanted.access_token AND s.chat_number = wanted.chat_number) set_aside
"""
EXISTING = """
SELECT array_agg(a.access_token) FROM applications a WHERE a.access_token = ANY(%s)
"""


class Taken(NamedTuple):
    """The highest number taken, and whether there is what it belongs to."""

    highest: int
    exists: bool


def highest_number(access_token: str, chat_number: int | None) -> Taken:
    """The highest number taken by a chat, or by a message of a chat."""
    if chat_number is None:
        row = fetch_one(HIGHEST_CHAT, (access_token,))
    else:
        row = fetch_one(HIGHEST_MESSAGE, (access_token, str(chat_number)))
    exists, highest = row or (False, 0)
    return Taken(highest, exists)


def existing_applications(access_tokens: Sequence[str]) -> list[str]:
    """Those tokens that are an application's."""
    row = fetch_one(EXISTING, (list(access_tokens),))
    found = (row and row[0]) or []
    return [token.decode() if isinstance(token, bytes) else token for token in found]
