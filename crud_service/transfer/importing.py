"""Imports an application from the lines of an export, piece by piece.

`crud_service.transfer.unfinished` says why nobody sees a part of it. Numbers and times are kept,
gaps included. Rows get new ids; those of the last messages are handed out at the end in the
order of their times, since `sort=-last_message` goes by them.
"""

from collections.abc import Callable, Iterator
from typing import BinaryIO

import psycopg
from psycopg import sql

from crud_service.chat.access_tokens import new_access_token
from crud_service.stores.database import Connection
from crud_service.stores.transactions import TRANSACTION, Outcome, look_up
from crud_service.transfer.lines import (
    BadLineError,
    Line,
    LineOrder,
    Row,
    columns_of,
    parse_line,
    read_lines,
)
from crud_service.transfer.unfinished import COUNT, create_hidden, remove_hidden

# A piece is committed when it has this many rows, or bytes of lines.
PIECE_ROWS = 2000
PIECE_BYTES = 1024 * 1024
LAST_MESSAGES_AT_ONCE = 200
IDS_AT_ONCE = 1000

CHATS = ("id", "application_id", *columns_of("chat"), "message_count", "highest_number")
MESSAGES = ("chat_id", *columns_of("message"))
NAMES = sql.SQL(", ").join(map(sql.Identifier, MESSAGES))
RESERVE = "SELECT nextval('chats_id_seq') FROM generate_series(1, %s)"
UPDATE_CHAT = "UPDATE chats SET message_count = %s, highest_number = %s WHERE id = %s"
HOLD_LAST = sql.SQL(
    "CREATE TEMPORARY TABLE last_messages AS SELECT {} FROM messages WHERE false;"
    "CREATE INDEX ON last_messages (created_at, chat_id)"
).format(NAMES)
INSERT_LAST = sql.SQL("""
WITH numbered AS (
    SELECT nextval('messages_id_seq') AS id, ordered.* FROM (
        SELECT * FROM last_messages WHERE (created_at, chat_id) > (%s::timestamptz, %s)
        ORDER BY created_at, chat_id LIMIT %s
    ) ordered
), inserted AS (
    INSERT INTO messages (id, {0}) SELECT id, {0} FROM numbered
), ended AS (
    UPDATE chats SET message_count = message_count + 1,
        highest_number = numbered.number, last_message_id = numbered.id
    FROM numbered WHERE chats.id = numbered.chat_id
)
SELECT created_at::text, chat_id FROM numbered ORDER BY id DESC LIMIT 1
""").format(NAMES)
PUBLISH = f"""
UPDATE applications SET access_token = %s, name = %s, chat_count = %s,
    created_at = %s::timestamptz, updated_at = %s::timestamptz
WHERE id = %s RETURNING {TRANSACTION}
"""


class ImportFailedError(Exception):
    """Nothing was imported; the message says why."""


class OutcomeUnknownError(Exception):
    """PostgreSQL did not confirm the end; `access_token` is valid if it was imported."""

    def __init__(self, access_token: str) -> None:
        super().__init__(access_token)
        self.access_token = access_token


def import_application(
    connection: Connection,
    file: BinaryIO,
    progress: Callable[[LineOrder], object],
    removed: Callable[[int], object],
) -> str:
    """Import an application.

    Args:
        file: the lines of an export.
        progress: called after each piece, with what was read so far.
        removed: called with how many messages were removed, again and again, after a failure.

    Returns:
        The new access token. Raises ImportFailedError, which names a bad line by its number;
        nothing stays then. After psycopg.Error something may, but hidden.
    """
    importer = Importer(connection)
    try:
        for _ in read_into(importer, file):
            progress(importer.order)
        return importer.finish()
    except BadLineError as error:
        raise ImportFailedError(str(error)) from None
    finally:
        importer.remove_unless_finished(removed)


def read_into(importer: "Importer", file: BinaryIO) -> Iterator[None]:
    """Hand all lines to an importer; yield after each piece.

    Raises BadLineError, which names the line by its number.
    """
    for number, text in enumerate(read_lines(file), 1):
        try:
            stored = importer.add(parse_line(text), len(text))
        except BadLineError as error:
            raise BadLineError(f"line {number}: {error}") from None
        if stored:
            yield
    if not importer.order.is_complete:
        raise BadLineError("the file is cut short: it has no line of type end")


class Importer:
    """Stores the lines of one application."""

    def __init__(self, connection: Connection) -> None:
        self.order = LineOrder()
        self._connection = connection
        connection.execute(HOLD_LAST)
        self._application_id: int | None = create_hidden(connection)
        self._application: Row = {}
        self._ids = self._chat_ids()
        # The chat whose messages are being read, and the last of them so far.
        self._chat: Row = {}
        self._last: Row | None = None
        # What is not stored yet, and the chat that an earlier piece has stored with fewer messages.
        self._chats: list[Row] = []
        self._messages: list[Row] = []
        self._last_messages: list[Row] = []
        self._continued: Row = {}
        self._size = 0

    def add(self, line: Line, size: int) -> bool:
        """Take the next line, of `size` bytes; return whether a piece was stored with it.

        Raises BadLineError if it does not follow those before.
        """
        self.order.check(line)
        kind, row = line
        self._size += size
        if kind == "application":
            self._application = row
        elif kind == "chat":
            self._begin_chat(row)
        elif kind == "message":
            self._add_message(row)
        else:
            self._end_chat()
        rows = len(self._chats) + len(self._messages) + len(self._last_messages)
        if rows < PIECE_ROWS and self._size < PIECE_BYTES and kind != "end":
            return False
        self._store()
        return True

    def finish(self) -> str:
        """Store the last messages of all chats, publish the application, and return its token."""
        position = ("-infinity", 0)
        while row := self._connection.execute(
            INSERT_LAST, (*position, LAST_MESSAGES_AT_ONCE)
        ).fetchone():
            position = row[0], row[1]
        token = self._publish()
        self._application_id = None
        return token

    def remove_unless_finished(self, removed: Callable[[int], object]) -> None:
        """Remove what was stored of an application that is not complete, if PostgreSQL lets us."""
        if self._application_id is None or self._connection.closed:
            return
        try:
            remove_hidden(self._connection, self._application_id, removed)
        except psycopg.Error:
            # It stays hidden, and is removed as if this process had been killed.
            self._connection.close()

    def _begin_chat(self, row: Row) -> None:
        self._end_chat()
        self._chat = {
            "message_count": 0,
            "highest_number": 0,
            **row,
            "id": next(self._ids),
            "application_id": self._application_id,
        }
        self._chats.append(self._chat)

    def _add_message(self, row: Row) -> None:
        """Hold a message back until it is known whether it is the last one of its chat."""
        if self._last is not None:
            self._messages.append(self._last)
            self._chat["message_count"] += 1
            self._chat["highest_number"] = self._last["number"]
        self._last = row | {"chat_id": self._chat["id"]}

    def _end_chat(self) -> None:
        if self._last is not None:
            self._last_messages.append(self._last)
            self._last = None

    def _chat_ids(self) -> Iterator[int]:
        while True:
            for (chat_id,) in self._connection.execute(RESERVE, (IDS_AT_ONCE,)).fetchall():
                yield chat_id

    def _store(self) -> None:
        """Commit a piece."""
        with self._connection.transaction():
            if chat := self._continued:
                values = (chat["message_count"], chat["highest_number"], chat["id"])
                self._connection.execute(UPDATE_CHAT, values)
            self._copy("chats", CHATS, self._chats)
            self._copy("messages", MESSAGES, self._messages)
            self._copy("last_messages", MESSAGES, self._last_messages)
        self._chats, self._messages, self._last_messages = [], [], []
        self._continued = self._chat
        self._size = 0

    def _copy(self, table: str, names: tuple[str, ...], rows: list[Row]) -> None:
        if not rows:
            return
        listed = sql.SQL(", ").join(map(sql.Identifier, names))
        statement = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table), listed)
        with self._connection.cursor() as cursor, cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row([row.get(name) for name in names])

    def _publish(self) -> str:
        """Make the application an ordinary one, under a new token.

        An interruption that comes too late is ignored, since the token would be lost.
        """
        token = new_access_token()
        row = self._application
        times = (row["created_at"], row["updated_at"])
        values = (token, row["name"], self.order.chats, *times, self._application_id)
        transaction_id = ""
        try:
            with self._connection.transaction():
                self._connection.execute(COUNT, (1,))
                ((transaction_id,),) = self._connection.execute(PUBLISH, values).fetchall()
        except (psycopg.OperationalError, SystemExit):
            if not transaction_id:
                raise
            outcome = look_up(transaction_id.encode())
            if outcome is Outcome.UNKNOWN:
                raise OutcomeUnknownError(token) from None
            if outcome is Outcome.ABORTED:
                raise
        return token
