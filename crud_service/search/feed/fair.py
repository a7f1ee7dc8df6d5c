"""Reads batches from the outbox or the queue, with a fair share for each application.

A batch is composed by start-time fair queueing (Demers, Keshav and Shenker 1989; Goyal
et al. 1996): every row is tagged with the bytes that its own application has waiting
before it, and rows are taken in the order of their tags until the batch has enough rows
or bytes. An application with one new message has it in the next batch, however much
another one has waiting; the unused share of an application goes to the others.

Applications are listed by a loose index scan, one probe each, starting after the last
one of the previous batch, so that each has its turn even if there are more applications
than fit in a batch. Nothing is locked: see `outbox` and `queue` for why two readers
of the same rows do no harm.
"""

from dataclasses import dataclass
from typing import Any

from crud_service.stores.database import Connection

APPLICATIONS = 1000
# Rows are read per application up to this multiple of an equal share: others may need less.
GENEROSITY = 4
# The cost of a row in addition to the bytes of its text.
ROW_BYTES = 256

# The outer limit also ends the recursion, which is evaluated row by row.
LIST = """
WITH RECURSIVE waiting (application_id) AS (
    (SELECT application_id FROM {table} WHERE application_id > %(after)s
     ORDER BY application_id LIMIT 1)
    UNION ALL
    SELECT (SELECT later.application_id FROM {table} AS later
            WHERE later.application_id > waiting.application_id
            ORDER BY later.application_id LIMIT 1)
    FROM waiting WHERE waiting.application_id IS NOT NULL
)
SELECT application_id FROM waiting WHERE application_id IS NOT NULL LIMIT %(limit)s
"""

# To be followed by a SELECT from `picked`. The sizes come from subqueries, whose only possible
# plan is a probe per row; `octet_length` does not fetch a text that is stored out of line.
# A message that waits twice is read once, and so its size counts once.
PICK = """
WITH waiting AS MATERIALIZED (
    SELECT entry.* FROM unnest(%(applications)s::bigint[]) AS application (id)
    CROSS JOIN LATERAL (
        SELECT * FROM {table}
        WHERE application_id = application.id AND {due} ORDER BY {table}.id LIMIT %(share)s
    ) AS entry
), sized AS (
    SELECT *, {row_bytes} + CASE
        WHEN row_number() OVER (PARTITION BY message_id ORDER BY id) = 1
        THEN coalesce({size}, 0) ELSE 0 END AS size
    FROM waiting
), tagged AS (
    SELECT *, sum(size) OVER (PARTITION BY application_id ORDER BY id) - size AS tag FROM sized
), ordered AS (
    SELECT *, sum(size) OVER in_turn - size AS before, row_number() OVER in_turn AS position
    FROM tagged WINDOW in_turn AS (ORDER BY tag, application_id, id)
), picked AS MATERIALIZED (
    SELECT message_id, chat_id, number, array_agg(id ORDER BY id) AS ids,
           max(application_id) AS application_id, min(changed_at) AS changed_at{more}
    FROM ordered WHERE before < %(bytes)s AND position <= %(rows)s
    GROUP BY message_id, chat_id, number
)
"""


def pick(table: str, size: str, *, due: str = "true", more: str = "") -> str:
    """Return the CTEs that pick a fair batch of a table.

    Args:
        table: its name.
        size: SQL for the bytes of an entry's text.
        due: a condition on its rows.
        more: SQL for more columns of `picked`.
    """
    return PICK.format(table=table, size=size, due=due, more=more, row_bytes=ROW_BYTES)


@dataclass(slots=True)
class Turn:
    """Which application is next in one table. Kept per process; losing it does no harm."""

    table: str
    last: int = -1

    def applications(self, connection: Connection, limit: int) -> list[int]:
        """Return the next applications that have something waiting, at most `limit`."""
        limit = min(limit, APPLICATIONS)
        found = self._list(connection, self.last, limit)
        if len(found) < limit and self.last >= 0:
            earlier = self._list(connection, -1, limit - len(found))
            found += [application for application in earlier if application <= self.last]
        self.last = found[-1] if len(found) == limit else -1
        return found

    def _list(self, connection: Connection, after: int, limit: int) -> list[int]:
        parameters = {"after": after, "limit": limit}
        rows = connection.execute(LIST.format(table=self.table), parameters)
        return [application for (application,) in rows]

    def read(self, connection: Connection, query: str, rows: int, size: int) -> list[Any]:
        """Return a fair batch of at most `rows` entries that ends once it has `size` bytes."""
        applications = self.applications(connection, rows)
        if not applications:
            return []
        parameters = {
            "applications": applications,
            "share": min(rows, -(-rows * GENEROSITY // len(applications))),
            "rows": rows,
            "bytes": size,
        }
        return connection.execute(query, parameters).fetchall()
