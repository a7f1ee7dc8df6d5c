"""What the API reads: one statement for each GET, rendered as JSON by PostgreSQL.

Rendering there costs about what building Python objects and dumping them does,
and moves the work out of the one process that holds the interpreter's lock.
"""

from crud_service.database import fetch_one

_TIMES = """
    to_char(x.created_at, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS created_at,
    to_char(x.updated_at, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS updated_at
"""


def _json(columns: str) -> str:
    return f"(SELECT row_to_json(r)::text FROM (SELECT {columns}) r)"


# Each needs the table's row to be called x. The order of the keys is the contract's.
APPLICATION_JSON = _json(f"x.name, x.access_token, {_TIMES}, x.chat_count")
CHAT_JSON = _json(f"x.number, x.message_count, {_TIMES}")
MESSAGE_JSON = _json(f"x.number, x.body, {_TIMES}")

APPLICATION = f"SELECT {APPLICATION_JSON} FROM applications x WHERE x.access_token = %s"
CHAT = f"""
SELECT {CHAT_JSON} FROM applications a
JOIN chats x ON x.application_id = a.id AND x.number = %s::bigint
WHERE a.access_token = %s
"""
MESSAGE = f"""
SELECT {MESSAGE_JSON} FROM applications a
JOIN chats c ON c.application_id = a.id AND c.number = %s::bigint
JOIN messages x ON x.chat_id = c.id AND x.number = %s::bigint
WHERE a.access_token = %s
"""


def find_application(access_token: str) -> bytes | None:
    """An application as JSON."""
    row = fetch_one(APPLICATION, (access_token,))
    return None if row is None else row[0]


def find_chat(access_token: str, number: int) -> bytes | None:
    """A chat as JSON."""
    row = fetch_one(CHAT, (str(number), access_token))
    return None if row is None else row[0]


def find_message(access_token: str, chat_number: int, number: int) -> bytes | None:
    """A message as JSON."""
    row = fetch_one(MESSAGE, (str(chat_number), str(number), access_token))
    return None if row is None else row[0]
