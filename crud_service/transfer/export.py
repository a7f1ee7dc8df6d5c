"""An application as lines of JSON (NDJSON), made piece by piece.

The application's line comes first, then each chat followed by its messages, all by number, and
last a line of type `end` with the counts. A file without that line was cut short.

Every piece is made of short statements of its own, so an export of any length holds neither a
transaction nor a connection while its client reads. It is therefore no snapshot. The chats are
those stored when it began, and the messages of a chat those stored when the chat's line was
read; a change made meanwhile is in it if it was made before its row was read.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from crud_service.chat.list_queries import CHUNK_ROWS, MESSAGES, ScanOrder, list_query
from crud_service.chat.reading import APPLICATION_JSON, CHAT_JSON, MESSAGE_JSON
from crud_service.stores.replica import read, read_one
from web.problems import NotFound

CHATS_AT_ONCE = 200
# A piece ends at this many bytes or chunks: short chats share one, and none takes long.
PIECE_BYTES = 128 * 1024
PIECE_CHUNKS = 40


def line_of(kind: str, json: str) -> str:
    """Return an expression for the line of a row, given the expression for its JSON object."""
    return f"""'{{"type":"{kind}",' || substr({json}, 2)"""


APPLICATION = f"""
SELECT {line_of("application", APPLICATION_JSON)},
    (SELECT coalesce(max(c.number), 0) FROM chats c WHERE c.application_id = x.id)
FROM applications x WHERE x.access_token = %s
"""
# The token is looked up for each piece, so an export ends when its token becomes invalid.
CHATS = f"""
SELECT x.number, CASE WHEN x.deleted_at IS NULL THEN x.highest_number ELSE 0 END,
    {line_of("chat", CHAT_JSON)}
FROM applications a JOIN chats x ON x.application_id = a.id
WHERE a.access_token = %s AND x.number > %s AND x.number <= %s
ORDER BY x.number LIMIT {CHATS_AT_ONCE}
"""
EXISTS = "SELECT FROM applications a WHERE a.access_token = %s"
MESSAGE_LINES = replace(MESSAGES, json=line_of("message", MESSAGE_JSON), separator="\n")


class Chat(NamedTuple):
    """A chat; its highest number is 0 if it has no messages, or has lost them as it was deleted."""

    number: int
    highest_number: int
    line: bytes


class Chunk(NamedTuple):
    """Lines of messages, how many they are, and the next number, None at the end."""

    lines: bytes
    messages: int
    following: int | None


def export_application(access_token: str) -> Iterator[bytes] | None:
    """Return the pieces of an export; None if there is no such application."""
    row = read_one(APPLICATION, (access_token,))
    if row is None:
        return None
    line, last_chat = row
    return in_pieces(export_lines(access_token, line, last_chat))


def export_lines(access_token: str, application: bytes, last_chat: int) -> Iterator[bytes]:
    """Yield the lines, some at a time: at most one statement for each chunk.

    Raises NotFound when the application disappears: the response is then cut short.
    """
    chat_count = message_count = number = 0
    yield application + b"\n"
    while chats := fetch_chats(access_token, number, last_chat):
        for chat in chats:
            number = chat.number
            yield chat.line + b"\n"
            for chunk in message_chunks(access_token, chat):
                message_count += chunk.messages
                yield chunk.lines
        chat_count += len(chats)
    yield b'{"type":"end","chats":%d,"messages":%d}\n' % (chat_count, message_count)


def fetch_chats(access_token: str, after: int, last: int) -> list[Chat]:
    """Return the next chats; raise NotFound if the application has disappeared."""
    parameters = (access_token, after, last)
    rows = read(lambda connection: connection.execute(CHATS, parameters).fetchall())
    if not rows and read_one(EXISTS, (access_token,)) is None:
        raise NotFound
    return [Chat(*row) for row in rows]


def message_chunks(access_token: str, chat: Chat) -> Iterator[Chunk]:
    """Yield the messages of a chat up to the highest number that it had."""
    following: int | None = 1 if chat.highest_number else None
    while following is not None:
        chunk = fetch_messages(access_token, chat, following)
        following = chunk.following
        yield chunk


def fetch_messages(access_token: str, chat: Chat, first: int) -> Chunk:
    """Return the next messages; none if the chat was deleted since its line was read.

    Raises NotFound if the application has disappeared.
    """
    row = read_one(
        list_query(MESSAGE_LINES, ScanOrder(), chunked=True),
        {
            "access_token": access_token,
            "chat_number": str(chat.number),
            "low": str(first),
            "high": str(chat.highest_number),
            "limit": CHUNK_ROWS,
        },
    )
    if row is None:
        if read_one(EXISTS, (access_token,)) is None:
            raise NotFound
        return Chunk(b"", 0, None)
    _, _, _, lines, last, *_ = row
    if lines is None:
        return Chunk(b"", 0, None)
    # JSON has no line break of its own: PostgreSQL escapes those of a text.
    following = last + 1 if last < chat.highest_number else None
    return Chunk(lines + b"\n", lines.count(b"\n") + 1, following)


def in_pieces(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Join chunks to pieces of a bounded number of bytes and statements."""
    waiting: list[bytes] = []
    size = 0
    for chunk in chunks:
        waiting.append(chunk)
        size += len(chunk)
        if size >= PIECE_BYTES or len(waiting) >= PIECE_CHUNKS:
            yield b"".join(waiting)
            waiting, size = [], 0
    if waiting:
        yield b"".join(waiting)
