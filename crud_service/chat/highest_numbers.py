"""From which number a missing sequence goes on."""

from crud_service.database import fetch_one

# A number counts as taken when it is stored, and just as much when its entry
# could not be stored: seeding below it would hand it out a second time.
HIGHEST_CHAT = """
SELECT greatest(
    (SELECT max(c.number) FROM chats c WHERE c.application_id = a.id),
    (SELECT max(s.number) FROM set_aside_entries s
     WHERE s.access_token = a.access_token AND s.chat_number IS NULL),
    0)
FROM applications a WHERE a.access_token = %s
"""
HIGHEST_MESSAGE = """
SELECT greatest(
    (SELECT max(m.number) FROM messages m WHERE m.chat_id = c.id),
    (SELECT max(s.number) FROM set_aside_entries s
     WHERE s.access_token = a.access_token AND s.chat_number = c.number),
    (SELECT max(f.number) FROM conflicts f
     WHERE f.access_token = a.access_token AND f.chat_number = c.number),
    0)
FROM applications a JOIN chats c ON c.application_id = a.id
WHERE a.access_token = %s AND c.number = %s::bigint
"""


def highest_number(access_token: str, chat_number: int | None) -> int | None:
    """The highest number taken by a chat, or by a message of a chat; None without a parent."""
    if chat_number is None:
        row = fetch_one(HIGHEST_CHAT, (access_token,))
    else:
        row = fetch_one(HIGHEST_MESSAGE, (access_token, str(chat_number)))
    return None if row is None else row[0]
