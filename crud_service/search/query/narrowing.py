"""What filters leave of a chat, as far as it is known before any text is read.

Times leave a range of numbers. A sender with few messages leaves their numbers, which are fewer
than the matches of a common keyword among which they would have to be looked for.
"""

from typing import NamedTuple

from contract.paths import MAX_NUMBER
from crud_service.chat.filters import SENDER, Filters, by_time, range_columns
from crud_service.stores.database import Connection

# A sender of more messages is looked for among the matches.
MOST_NUMBERS = 2000

FIND_NUMBERS = f"""
SELECT array_agg(x.number) FROM (
    SELECT x.number FROM messages x
    WHERE x.chat_id = %(chat_id)s AND x.sender = %(sender)s
        AND x.number >= %(since)s AND x.number <= %(until)s
    ORDER BY x.number LIMIT {MOST_NUMBERS + 1}
) x
"""


class Narrowed(NamedTuple):
    """The numbers among which all messages are that pass: a range, inclusive, or a few of it."""

    since: int = 1
    until: int = MAX_NUMBER
    numbers: list[int] | None = None


def narrow(connection: Connection, chat_id: int, filters: Filters) -> Narrowed:
    """Return what some filters leave of a chat."""
    since, until = 1, MAX_NUMBER
    if by_time(filters):
        find_range = f"SELECT {range_columns(filters, 'c')} FROM chats c WHERE c.id = %(chat_id)s"
        row = connection.execute(find_range, {"chat_id": chat_id, **filters}).fetchone()
        since, until = row or (1, 0)
    if SENDER not in filters:
        return Narrowed(since, until)
    parameters = {"chat_id": chat_id, "since": since, "until": until, **filters}
    (numbers,) = connection.execute(FIND_NUMBERS, parameters).fetchone() or (None,)
    numbers = numbers or []
    return Narrowed(since, until, numbers if len(numbers) <= MOST_NUMBERS else None)
