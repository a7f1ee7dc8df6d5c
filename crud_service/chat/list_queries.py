"""The SQL of lists: one statement finds the parent, a page of rows, and whether more lie beyond.

Keyset pagination: each scans the unique index behind the order from one bound, so a page costs the
same at any position. The parent is a row `p` with `id`, `total` and the inclusive bounds `low` and
`high`.
"""

from dataclasses import dataclass, replace
from functools import cache

from contract.paths import MAX_NUMBER
from crud_service.chat.filters import SENDER, by_time, conditions, range_columns
from crud_service.chat.reading import (
    APPLICATION_JSON,
    CHAT_AND_LAST_MESSAGE_JSON,
    CHAT_BYTES,
    CHAT_JSON,
    MESSAGE_BYTES,
    MESSAGE_JSON,
)

# A chunk of a streamed list ends after this many rows, or once it holds this many bytes.
CHUNK_ROWS = 1000
CHUNK_BYTES = 256 * 1024
# The first piece of a page has up to this many bytes of text, each further one CHUNK_BYTES.
PAGE_BYTES = 512 * 1024


@dataclass(frozen=True)
class Collection:
    """How a table is listed, as SQL: x is a row of the table, p its parent, i the rows found.

    Attributes:
        table: what has the rows.
        key: the column by which they are ordered, which is unique within a parent.
        in_parent: the condition that a row belongs to the parent.
        json: a row as JSON.
        parent: the query of the parent.
        size: how many bytes clients chose of a row, by which pages are cut into pieces.
        cursor: the cursor of the first or the last row, as text.
        changes: the number of the last change in the parent, where changes are numbered.
        identity: the column that tells the rows apart and, unlike the key, never changes.
        lowest: the lowest key that there can be.
        separator: what stands between two rows.
        condition: that of the filters, to be appended to `in_parent`.
        total: how many rows the whole list has.
    """

    table: str
    key: str
    in_parent: str
    json: str
    parent: str
    size: str
    cursor: str = "i.{end}::text"
    changes: str = "NULL::bigint"
    identity: str = "number"
    lowest: int = 1
    separator: str = ","
    condition: str = ""
    total: str = "p.total"


_BOUNDS = "%(low)s::bigint AS low, %(high)s::bigint AS high"
# The id of the application that has a token, or had it until it was rotated or deleted: a client
# that pages may have seen it before.
_PLACE = """coalesce(
                (SELECT a.id FROM applications a WHERE a.access_token = {cursor}),
                (SELECT r.application_id FROM rotations r WHERE r.former_token = {cursor}),
                (SELECT d.application_id FROM deleted_applications d
                 WHERE d.digest = sha256(convert_to({cursor}, 'UTF8'))))"""

APPLICATIONS = Collection(
    table="applications",
    key="id",
    # Those that are being imported have no token yet (`crud_service.transfer.unfinished`).
    in_parent="x.deleted_at IS NULL AND x.access_token NOT LIKE '~%%'",
    json=APPLICATION_JSON,
    # Cursors are access tokens; the bound of an unknown one is null.
    parent=f"""
        SELECT (SELECT sum(t.total)::bigint FROM application_totals t) AS total,
            CASE WHEN %(low)s::text IS NULL THEN 1
                ELSE {_PLACE.format(cursor="%(low)s::text")} + 1 END AS low,
            CASE WHEN %(high)s::text IS NULL THEN 9223372036854775807
                ELSE {_PLACE.format(cursor="%(high)s::text")} - 1 END AS high""",
    size="octet_length(x.name)",
    identity="id",
    cursor="(SELECT a.access_token::text FROM applications a WHERE a.id = i.{end})",
)
CHATS = Collection(
    table="chats",
    key="number",
    in_parent="x.application_id = p.id",
    json=CHAT_JSON,
    parent=f"""
        SELECT a.id, a.chat_count AS total, {_BOUNDS}
        FROM applications a WHERE a.access_token = %(access_token)s""",
    size=CHAT_BYTES,
)
MESSAGES = Collection(
    table="messages",
    key="number",
    in_parent="x.chat_id = p.id",
    json=MESSAGE_JSON,
    parent=f"""
        SELECT c.id, c.message_count AS total, c.changes, c.time_slack,
            c.highest_number, {_BOUNDS}
        FROM applications a JOIN chats c ON c.application_id = a.id
        WHERE a.access_token = %(access_token)s AND c.number = %(chat_number)s::bigint
            AND c.deleted_at IS NULL""",
    size=MESSAGE_BYTES,
    changes="p.changes",
)
# The messages that were changed, by their last change; `low` is a change.
CHANGED_MESSAGES = replace(MESSAGES, key="change", in_parent="x.chat_id = p.id AND x.change > 0")

# The key of `chats_activity_idx`: the id of a chat's last message; below all of them, the number
# of a chat that has none.
ACTIVITY = """
    CASE c.last_message_id WHEN 0 THEN c.number - 9223372036854775807 - 1
        ELSE c.last_message_id END"""
_CHATS_AND_LAST_MESSAGES = f"""(
    SELECT c.*, {ACTIVITY} AS activity, m.number AS message_number, m.body AS message_body,
        m.created_at AS message_created_at, m.updated_at AS message_updated_at,
        m.sender AS message_sender, m.metadata AS message_metadata,
        m.reply_to AS message_reply_to, m.deleted_at AS message_deleted_at
    FROM chats c LEFT JOIN messages m
        ON m.chat_id = c.id AND m.number = c.highest_number AND c.deleted_at IS NULL)"""
CHATS_AND_LAST_MESSAGES = replace(
    CHATS,
    table=_CHATS_AND_LAST_MESSAGES,
    json=CHAT_AND_LAST_MESSAGE_JSON,
    size=f"({CHAT_BYTES} + coalesce(octet_length(x.message_body), 0)"
    " + coalesce(octet_length(x.message_metadata::text), 0))",
)
# The chat written to last has the highest key.
ACTIVE_CHATS = replace(
    CHATS,
    table=f"(SELECT c.*, {ACTIVITY} AS activity FROM chats c)",
    key="activity",
    lowest=-MAX_NUMBER,
)
ACTIVE_CHATS_AND_LAST_MESSAGES = replace(
    CHATS_AND_LAST_MESSAGES, key="activity", lowest=-MAX_NUMBER
)


# Where no number is missing, and none is out of order, the messages between two times need not be
# counted one by one.
_IS_DENSE = "p.total = p.highest_number AND p.time_slack = 0"
_BETWEEN = "greatest(0, least(p.until, p.highest_number) - p.since + 1)"


@cache
def filtered(collection: Collection, filters: tuple[str, ...]) -> Collection:
    """Return a collection of messages limited by filters, whose values are parameters."""
    if not filters:
        return collection
    condition = conditions(filters)
    parent = collection.parent
    if by_time(filters):
        # OFFSET has the functions called once, and not wherever a bound is used.
        parent = f"SELECT p.*, {range_columns(filters, 'p')} FROM ({parent}) p OFFSET 0"
        condition += " AND x.number >= p.since AND x.number <= p.until"
    # Of changes too the total is that of the whole list, as it is without filters.
    total = f"(SELECT count(*) FROM messages x WHERE {MESSAGES.in_parent}{condition})"
    if SENDER not in filters:
        total = f"CASE WHEN {_IS_DENSE} THEN {_BETWEEN} ELSE {total} END"
    return replace(collection, parent=parent, condition=condition, total=total)


@cache
def uncounted(collection: Collection) -> Collection:
    """Return a collection without the cost of counting what filters let through."""
    return replace(collection, total="p.total")


# Applications by their key, for the chunks that follow the first.
APPLICATIONS_BY_KEY = replace(APPLICATIONS, parent=f"SELECT 0::bigint AS total, {_BOUNDS}")


@dataclass(frozen=True)
class ScanOrder:
    """How a page is read: from the high end or the low one, and which row is returned first.

    `bounded`: the request gave both bounds, so the next page stays between them.
    """

    backward: bool = False
    descending: bool = False
    bounded: bool = False


def _rows(collection: Collection, order: ScanOrder) -> str:
    key = f"x.{collection.key}"
    direction = "DESC" if order.backward else "ASC"
    return f"""
        SELECT x.* FROM {collection.table} x
        WHERE {collection.in_parent} AND {key} >= p.low AND {key} <= p.high
            {collection.condition}
        ORDER BY {key} {direction} LIMIT %(limit)s"""


def _bytes_before(collection: Collection, direction: str) -> str:
    """Return the bytes of the rows before a row; they add up fastest over ROWS, without peers."""
    return f"""
                coalesce(sum({collection.size}) OVER (
                    ORDER BY x.{collection.key} {direction}
                    ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
                ), 0) AS bytes_before"""


def _within_bytes(collection: Collection, rows: str) -> str:
    """Limit rows to CHUNK_BYTES, including the row that reaches it: a chunk is never empty."""
    return f"""
        SELECT * FROM (
            SELECT x.*, {_bytes_before(collection, "ASC")}
            FROM ({rows}) x
        ) x WHERE x.bytes_before < {CHUNK_BYTES}"""


def _in_pieces(collection: Collection, rows: str, direction: str) -> str:
    """Add to each row of a page the number of its piece; the first piece is 0."""
    return f"""
        SELECT x.*, CASE WHEN x.bytes_before < {PAGE_BYTES} THEN 0
            ELSE 1 + (x.bytes_before - {PAGE_BYTES}) / {CHUNK_BYTES} END AS piece
        FROM (
            SELECT x.*, {_bytes_before(collection, direction)}
            FROM ({rows}) x
        ) x"""


@cache
def list_query(collection: Collection, order: ScanOrder, *, chunked: bool = False) -> str:
    """Return a statement whose row is: low, high, and then the fields of `list_rows.Rows`.

    Its parameters are those of the parent and of the filters, the bounds `low` and `high`, which
    are inclusive, and `limit`.

    Args:
        collection: what is listed.
        order: from which end, in which order, and whether both ends are bounded.
        chunked: whether the row has as many items as fit into a chunk's bytes, instead of the
            first piece and the identities of the others.
    """
    rows = _rows(collection, order)
    key = f"x.{collection.key}"
    direction = "DESC" if order.descending else "ASC"
    sort = f"ORDER BY {key} {direction}" if order.descending != order.backward else ""
    first_piece = pieces = ""
    if chunked:
        rows = _within_bytes(collection, rows)
    else:
        rows = _in_pieces(collection, rows, direction)
        first_piece = "FILTER (WHERE x.piece = 0)"
        pieces = f""",
            array_agg(x.{collection.identity} {sort}) FILTER (WHERE x.piece > 0) AS rest,
            array_agg(x.piece {sort}) FILTER (WHERE x.piece > 0) AS pieces"""
    floor = "p.low" if order.bounded and order.descending else str(collection.lowest)
    ceiling = "p.high" if order.bounded and not order.descending else str(MAX_NUMBER)
    return f"""
    SELECT p.low, p.high, {collection.total}, i.items, i.last,
        {collection.cursor.format(end="first")}, {collection.cursor.format(end="last")},
        EXISTS (SELECT FROM {collection.table} x WHERE {collection.in_parent}
            AND {key} < i.first AND {key} >= {floor}{collection.condition}),
        EXISTS (SELECT FROM {collection.table} x WHERE {collection.in_parent}
            AND {key} > i.last AND {key} <= {ceiling}{collection.condition}),
        {"i.rest, i.pieces" if pieces else "NULL, NULL"}, {collection.changes}
    FROM ({collection.parent}) p
    CROSS JOIN LATERAL (
        SELECT string_agg({collection.json}, '{collection.separator}' {sort}) {first_piece}
            AS items,
            min({key}) AS first, max({key}) AS last{pieces}
        FROM ({rows}) x
    ) i"""


@cache
def piece_query(collection: Collection) -> str:
    """Return a statement that finds rows by their identities, as JSON in one string, in order."""
    return f"""
    SELECT string_agg({collection.json}, ',' ORDER BY w.position)
    FROM ({collection.parent}) p
    CROSS JOIN unnest(%(wanted)s::bigint[]) WITH ORDINALITY AS w (identity, position)
    JOIN {collection.table} x ON {collection.in_parent} AND x.{collection.identity} = w.identity"""
