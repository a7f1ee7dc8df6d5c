"""The number from which a missing sequence continues, and which applications exist."""

from collections.abc import Sequence
from typing import NamedTuple

from crud_service.chat.rotations import tokens_of
from crud_service.stores.database import as_text, fetch_one, fetch_value

# A number counts as taken if it is stored, and also if its entry could not be stored: seeding
# below it would hand it out twice. This holds even without an application, which may be
# restored from a backup. A chat whose number is taken exists, because its creation or one of
# its messages was confirmed to a client.
# Entries keep the token under which they were accepted, which may have been rotated since.
_ITS_TOKENS = tokens_of("a.id", "wanted.access_token")
HIGHEST_CHAT = f"""
SELECT a.id IS NOT NULL, is_erased(wanted.access_token, NULL, NULL), greatest(
    (SELECT max(c.number) FROM chats c WHERE c.application_id = a.id),
    (SELECT max(s.number) FROM set_aside_entries s
     WHERE s.access_token = {_ITS_TOKENS} AND s.chat_number IS NULL),
    (SELECT max(f.number) FROM conflicts f
     WHERE f.access_token = {_ITS_TOKENS} AND f.chat_number IS NULL),
    0)
FROM (SELECT %s::text AS access_token) wanted
LEFT JOIN applications a ON a.access_token = wanted.access_token
"""
HIGHEST_MESSAGE = f"""
SELECT a.id IS NOT NULL AND (c.id IS NOT NULL OR set_aside.number IS NOT NULL OR EXISTS (
        SELECT FROM set_aside_entries s WHERE s.access_token = {_ITS_TOKENS}
        AND s.chat_number IS NULL AND s.number = wanted.chat_number)),
    is_erased(wanted.access_token, wanted.chat_number, NULL),
    greatest(
    (SELECT max(m.number) FROM messages m WHERE m.chat_id = c.id),
    (SELECT max(f.number) FROM conflicts f
     WHERE f.access_token = {_ITS_TOKENS} AND f.chat_number = wanted.chat_number),
    set_aside.number,
    0)
FROM (SELECT %s::text AS access_token, %s::bigint AS chat_number) wanted
LEFT JOIN applications a ON a.access_token = wanted.access_token
LEFT JOIN chats c ON c.application_id = a.id AND c.number = wanted.chat_number
CROSS JOIN LATERAL (
    SELECT max(s.number) AS number FROM set_aside_entries s
    WHERE s.access_token = {_ITS_TOKENS} AND s.chat_number = wanted.chat_number) set_aside
"""
EXISTING = """
SELECT array_agg(a.access_token) FROM applications a WHERE a.access_token = ANY(%s)
"""


class Taken(NamedTuple):
    """The highest number taken, and whether the parent (application or chat) exists.

    A `deleted` chat exists, a deleted application does not, and neither do its chats.
    """

    highest: int
    exists: bool
    deleted: bool = False


def highest_number(access_token: str, chat_number: int | None) -> Taken:
    """Return the highest number taken by a chat of an application, or by a message of a chat."""
    if chat_number is None:
        row = fetch_one(HIGHEST_CHAT, (access_token,))
    else:
        row = fetch_one(HIGHEST_MESSAGE, (access_token, str(chat_number)))
    exists, deleted, highest = row or (False, False, 0)
    return Taken(highest, exists, deleted)


def existing_applications(access_tokens: Sequence[str]) -> list[str]:
    """Return those of the access tokens that are valid, in any order."""
    found = fetch_value(EXISTING, (list(access_tokens),)) or []
    return [as_text(token) for token in found]
