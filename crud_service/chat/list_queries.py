"""The statements behind lists: one finds the parent, a page of its rows, and what lies beyond.

Each walks the unique index that backs the order, from a bound inwards, so a page costs the same
wherever it is. The parent is a row `p` with `id`, `total` and the inclusive bounds `low`, `high`.
"""

from dataclasses import dataclass, replace
from functools import cache

from contract.paths import MAX_NUMBER
from crud_service.chat.reading import APPLICATION_JSON, CHAT_JSON, MESSAGE_JSON

# A chunk of a streamed list ends after this many rows, or once it holds this many bytes.
CHUNK_ROWS = 1000
CHUNK_BYTES = 256 * 1024
# A page is made in one piece up to this many bytes of text, and in chunks behind them.
PAGE_BYTES = 512 * 1024


@dataclass(frozen=True)
class Collection:
    """A table as a list: its order, its rows as JSON, its parent."""

    name: str
    table: str
    key: str
    owner: str
    json: str
    parent: str
    text: str
    cursor: str = "i.{end}::text"


_BOUNDS = "%(low)s::bigint AS low, %(high)s::bigint AS high"

APPLICATIONS = Collection(
    name="applications",
    table="applications",
    key="id",
    owner="true",
    json=APPLICATION_JSON,
    # Cursors are access tokens; an unknown one makes its bound null.
    parent="""
        SELECT (SELECT sum(t.total)::bigint FROM application_totals t) AS total,
            CASE WHEN %(low)s::text IS NULL THEN 1 ELSE
                (SELECT a.id + 1 FROM applications a WHERE a.access_token = %(low)s::text)
            END AS low,
            CASE WHEN %(high)s::text IS NULL THEN 9223372036854775807 ELSE
                (SELECT a.id - 1 FROM applications a WHERE a.access_token = %(high)s::text)
            END AS high""",
    text="name",
    cursor="(SELECT a.access_token::text FROM applications a WHERE a.id = i.{end})",
)
CHATS = Collection(
    name="chats",
    table="chats",
    key="number",
    owner="x.application_id = p.id",
    json=CHAT_JSON,
    parent=f"""
        SELECT a.id, a.chat_count AS total, {_BOUNDS}
        FROM applications a WHERE a.access_token = %(access_token)s""",
    text="",
)
MESSAGES = Collection(
    name="messages",
    table="messages",
    key="number",
    owner="x.chat_id = p.id",
    json=MESSAGE_JSON,
    parent=f"""
        SELECT c.id, c.message_count AS total, {_BOUNDS}
        FROM applications a JOIN chats c ON c.application_id = a.id
        WHERE a.access_token = %(access_token)s AND c.number = %(chat_number)s::bigint""",
    text="body",
)


# Applications by their key, for the chunks that follow the first.
APPLICATIONS_BY_KEY = replace(APPLICATIONS, parent=f"SELECT 0::bigint AS total, {_BOUNDS}")


@dataclass(frozen=True)
class Walk:
    """How a page is walked: from which end, and shown in which order.

    `bounded`: both ends were given, so the next page stays between them.
    """

    from_high: bool = False
    descending: bool = False
    bounded: bool = False


def _rows(of: Collection, walk: Walk) -> str:
    direction = "DESC" if walk.from_high else "ASC"
    return f"""
        SELECT x.* FROM {of.table} x
        WHERE {of.owner} AND x.{of.key} >= p.low AND x.{of.key} <= p.high
        ORDER BY x.{of.key} {direction} LIMIT %(limit)s"""


def _within_bytes(of: Collection, rows: str) -> str:
    """The rows up to the one with which they reach CHUNK_BYTES: a chunk is never empty."""
    length = f"octet_length(x.{of.text})"
    return f"""
        SELECT * FROM (
            SELECT x.*, sum({length}) OVER (ORDER BY x.{of.key}) - {length} AS bytes_before
            FROM ({rows}) x
        ) x WHERE x.bytes_before < {CHUNK_BYTES}"""


def _in_pieces(of: Collection, rows: str, direction: str) -> str:
    """The rows of a page, each with the number of its piece; the first piece is 0.

    octet_length() looks at no more of a long text than its head.
    """
    length = f"octet_length(x.{of.text})"
    return f"""
        SELECT x.*, CASE WHEN x.bytes_before < {PAGE_BYTES} THEN 0
            ELSE 1 + (x.bytes_before - {PAGE_BYTES}) / {CHUNK_BYTES} END AS piece
        FROM (
            SELECT x.*,
                sum({length}) OVER (ORDER BY x.{of.key} {direction}) - {length} AS bytes_before
            FROM ({rows}) x
        ) x"""


@cache
def list_query(of: Collection, walk: Walk, *, chunked: bool = False) -> str:
    """A statement whose row is: low, high, and then the fields of `pages.Rows`.

    `fewer` and `more` tell whether rows lie beyond the page at its low and its high end.
    """
    rows = _rows(of, walk)
    order = "DESC" if walk.descending else "ASC"
    sort = f"ORDER BY x.{of.key} {order}" if walk.descending != walk.from_high else ""
    shown = pieces = ""
    if chunked and of.text:
        rows = _within_bytes(of, rows)
    elif of.text:
        rows = _in_pieces(of, rows, order)
        shown = "FILTER (WHERE x.piece = 0)"
        pieces = f""",
            array_agg(x.{of.key} ORDER BY x.{of.key} {order}) FILTER (WHERE x.piece > 0) AS rest,
            array_agg(x.piece ORDER BY x.{of.key} {order}) FILTER (WHERE x.piece > 0) AS pieces"""
    floor = "p.low" if walk.bounded and walk.descending else "1"
    ceiling = "p.high" if walk.bounded and not walk.descending else str(MAX_NUMBER)
    return f"""
    SELECT p.low, p.high, p.total, i.items, i.last,
        {of.cursor.format(end="first")}, {of.cursor.format(end="last")},
        EXISTS (SELECT FROM {of.table} x WHERE {of.owner}
            AND x.{of.key} < i.first AND x.{of.key} >= {floor}),
        EXISTS (SELECT FROM {of.table} x WHERE {of.owner}
            AND x.{of.key} > i.last AND x.{of.key} <= {ceiling}),
        {"i.rest, i.pieces" if pieces else "NULL, NULL"}
    FROM ({of.parent}) p
    CROSS JOIN LATERAL (
        SELECT string_agg({of.json}, ',' {sort}) {shown} AS items,
            min(x.{of.key}) AS first, max(x.{of.key}) AS last{pieces}
        FROM ({rows}) x
    ) i"""


@cache
def piece_query(of: Collection, *, descending: bool) -> str:
    """A statement that finds the rows with some keys, as JSON in one string."""
    direction = "DESC" if descending else "ASC"
    return f"""
    SELECT string_agg({of.json}, ',' ORDER BY x.{of.key} {direction})
    FROM ({of.parent}) p
    JOIN {of.table} x ON {of.owner} AND x.{of.key} = ANY(%(keys)s::bigint[])"""
