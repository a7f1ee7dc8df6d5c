"""Single resources: one statement for each kind, rendered as JSON by PostgreSQL.

Rendering there costs about as much as building and dumping Python objects, but
moves the work out of the process that is limited by the interpreter lock (GIL).
"""

from collections.abc import Mapping

from crud_service.stores.replica import read_value


def moment(column: str) -> str:
    """Return the JSON of a time, null for null."""
    return f"""to_char({column}, '\\"YYYY-MM-DD"T"HH24:MI:SS.MS"Z"\\"')"""


def times(row: str = "x.") -> dict[str, str]:
    """Return the times of a row; `row` is its alias, or what its columns begin with.

    All expressions here use the alias x unless another one is given.
    """
    return {"created_at": moment(f"{row}created_at"), "updated_at": moment(f"{row}updated_at")}


def as_json(members: Mapping[str, str], optional: Mapping[str, str] | None = None) -> str:
    """Return an expression for a JSON object, as text: `row_to_json` takes a third longer.

    Args:
        members: the JSON of each, which is never null.
        optional: those behind them, each left out if it is null.
    """
    before = "{" + "," * (len(members) - 1)
    parts = [
        f"""'{mark}"{name}":', {value}"""
        for mark, (name, value) in zip(before, members.items(), strict=True)
    ]
    parts += [f"""',"{name}":' || {value}""" for name, value in (optional or {}).items()]
    return f"concat({', '.join(parts)}, '}}')"


def message_attributes(row: str = "x.") -> dict[str, str]:
    """Return the optional members of a message."""
    return {
        "sender": f"to_json({row}sender)",
        "metadata": f"{row}metadata",
        "reply_to": f"{row}reply_to",
        "deleted_at": moment(f"{row}deleted_at"),
    }


def chat_attributes() -> dict[str, str]:
    """Return the optional members of a chat."""
    return {
        "name": "to_json(x.name)",
        "metadata": "x.metadata",
        "deleted_at": moment("x.deleted_at"),
    }


def message_json(row: str = "x.", more: Mapping[str, str] | None = None) -> str:
    """Return the JSON of a message; `more` are members to add behind those that it always has."""
    members = {"number": f"{row}number", "body": f"to_json({row}body)", **times(row)}
    return as_json({**members, **(more or {})}, message_attributes(row))


# The contract defines the order of the keys.
APPLICATION_JSON = as_json(
    {
        "name": "to_json(x.name)",
        "access_token": "to_json(x.access_token)",
        **times(),
        "chat_count": "x.chat_count",
    }
)
_CHAT = {"number": "x.number", "message_count": "x.message_count", **times()}
CHAT_JSON = as_json(_CHAT, chat_attributes())
MESSAGE_JSON = message_json()
# The columns of the chat's last message have the prefix `message_`, null if there is none.
_LAST_MESSAGE = f"""CASE WHEN x.message_number IS NULL THEN 'null'
    ELSE {message_json("x.message_")} END"""
CHAT_AND_LAST_MESSAGE_JSON = as_json(_CHAT, chat_attributes() | {"last_message": _LAST_MESSAGE})

# Bytes of what clients chose of a row. octet_length() reads only the header of a long text.
MESSAGE_BYTES = """(octet_length(x.body) + coalesce(octet_length(x.sender), 0)
    + coalesce(octet_length(x.metadata::text), 0))"""
CHAT_BYTES = "(coalesce(octet_length(x.name), 0) + coalesce(octet_length(x.metadata::text), 0))"


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
    JOIN chats c ON c.application_id = a.id AND c.number = q.chat AND c.deleted_at IS NULL
    JOIN messages x ON x.chat_id = c.id AND x.number = q.number
    WHERE a.access_token = q.token""",
)


def find_application(access_token: str) -> bytes | None:
    """Return the JSON of an application; None if there is none."""
    return _find(APPLICATION, access_token)


def find_chat(access_token: str, number: int) -> bytes | None:
    """Return the JSON of a chat, also of a deleted one; None if it is not stored."""
    return _find(CHAT, access_token, str(number))


def find_message(access_token: str, chat_number: int, number: int) -> bytes | None:
    """Return the JSON of a message; None if it is not stored, or its chat was deleted."""
    return _find(MESSAGE, access_token, str(chat_number), str(number))


def _find(statement: str, *values: str) -> bytes | None:
    found: bytes | None = read_value(statement, values)
    return found
