"""Single resources: one statement for each kind, rendered as JSON by PostgreSQL.

Rendering there costs about as much as building and dumping Python objects, but
moves the work out of the process that is limited by the interpreter lock (GIL).
"""

from crud_service.stores.database import fetch_value

TIMES = """
    to_char(x.created_at, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS created_at,
    to_char(x.updated_at, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS updated_at
"""


def as_json(columns: str) -> str:
    """Return an expression for a JSON object of these columns, as text."""
    return f"(SELECT row_to_json(r)::text FROM (SELECT {columns}) r)"


# Each requires the alias x for the table's row. The contract defines the order of the keys.
APPLICATION_JSON = as_json(f"x.name, x.access_token, {TIMES}, x.chat_count")
CHAT_JSON = as_json(f"x.number, x.message_count, {TIMES}")
MESSAGE_JSON = as_json(f"x.number, x.body, {TIMES}")
# The columns of the chat's last message have the prefix `message_`, null if there is none.
_LAST_MESSAGE = """(SELECT m FROM (
    SELECT x.message_number AS number, x.body,
        to_char(x.message_created_at, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS created_at,
        to_char(x.message_updated_at, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS updated_at
    ) m WHERE x.message_number IS NOT NULL)"""
CHAT_AND_LAST_MESSAGE_JSON = as_json(
    f"x.number, x.message_count, {TIMES}, {_LAST_MESSAGE} AS last_message"
)


def batched(columns: str, find: str) -> str:
    """Return a statement that finds many rows, in the order requested, NULL for missing ones.

    `find` is a query of one column of text for the row `q` with these columns. The parameters
    are lists of the columns' values, joined by commas: a parameter for each value would cost
    more than finding it.
    """
    texts = {"token", "numbers"}
    types = ["text" if column in texts else "bigint" for column in columns.split(", ")]
    lists = [f"string_to_array(%s, ',')::{type_}[]" for type_ in types]
    return f"""
    SELECT ({find})
    FROM unnest({", ".join(lists)}) WITH ORDINALITY AS q ({columns}, position)
    ORDER BY q.position
    """


APPLICATION = batched(
    "token", f"SELECT {APPLICATION_JSON} FROM applications x WHERE x.access_token = q.token"
)
CHAT = batched(
    "token, chat",
    f"""
    SELECT {CHAT_JSON} FROM applications a
    JOIN chats x ON x.application_id = a.id AND x.number = q.chat
    WHERE a.access_token = q.token""",
)
MESSAGE = batched(
    "token, chat, number",
    f"""
    SELECT {MESSAGE_JSON} FROM applications a
    JOIN chats c ON c.application_id = a.id AND c.number = q.chat
    JOIN messages x ON x.chat_id = c.id AND x.number = q.number
    WHERE a.access_token = q.token""",
)


def find_application(access_token: str) -> bytes | None:
    return _find(APPLICATION, access_token)


def find_chat(access_token: str, number: int) -> bytes | None:
    return _find(CHAT, access_token, str(number))


def find_message(access_token: str, chat_number: int, number: int) -> bytes | None:
    return _find(MESSAGE, access_token, str(chat_number), str(number))


def _find(statement: str, *values: str) -> bytes | None:
    found: bytes | None = fetch_value(statement, values)
    return found
