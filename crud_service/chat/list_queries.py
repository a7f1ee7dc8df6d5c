"""The SQL of lists: one statement finds the parent, a page of its rows, and what lies beyond.

Each scans the unique index behind the order from one bound, so a page costs the same at any
position. The parent is a row `p` with `id`, `total` and the inclusive bounds `low`, `high`.
"""

from dataclasses import dataclass, replace
from functools import cache

from contract.paths import MAX_NUMBER
from crud_service.chat.reading import APPLICATION_JSON, CHAT_JSON, MESSAGE_JSON

# A chunk of a streamed list ends after this many rows, or once it holds this many bytes.
CHUNK_ROWS = 1000
CHUNK_BYTES = 256 * 1024
# The first piece of a page has up to this many bytes of text; the rest follows in chunks.
PAGE_BYTES = 512 * 1024


@dataclass(frozen=True)
class Collection:
    """How a table is listed: its order, its rows as JSON, its parent (all of them SQL)."""

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
    # Cursors are access tokens; the bound of an unknown one is null.
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
    """How a page is read: from which end, and in which order its rows are returned.

    `bounded`: the request gave both bounds, so the next page stays between them.
    """

    from_high: bool = False
    descending: bool = False
    bounded: bool = False


def _rows(collection: Collection, walk: Walk) -> str:
    direction = "DESC" if walk.from_high else "ASC"
    return f"""
        SELECT x.* FROM {collection.table} x
        WHERE {collection.owner} AND x.{collection.key} >= p.low AND x.{collection.key} <= p.high
        ORDER BY x.{collection.key} {direction} LIMIT %(limit)s"""


def _within_bytes(collection: Collection, rows: str) -> str:
    """Limit rows to CHUNK_BYTES, including the row that reaches it: a chunk is never empty."""
    length = f"octet_length(x.{collection.text})"
    return f"""
        SELECT * FROM (
            SELECT x.*, sum({length}) OVER (ORDER BY x.{collection.key}) - {length} AS bytes_before
            FROM ({rows}) x
        ) x WHERE x.bytes_before < {CHUNK_BYTES}"""


def _in_pieces(collection: Collection, rows: str, direction: str) -> str:
    """Add to each row of a page the number of its piece; the first piece is 0.

    octet_length() reads only the header of a long text.
    """
    length = f"octet_length(x.{collection.text})"
    order = f"x.{collection.key} {direction}"
    return f"""
        SELECT x.*, CASE WHEN x.bytes_before < {PAGE_BYTES} THEN 0
            ELSE 1 + (x.bytes_before - {PAGE_BYTES}) / {CHUNK_BYTES} END AS piece
        FROM (
            SELECT x.*,
                sum({length}) OVER (ORDER BY {order}) - {length} AS bytes_before
            FROM ({rows}) x
        ) x"""


@cache
def list_query(collection: Collection, walk: Walk, *, chunked: bool = False) -> str:
    """Return a statement whose row is: low, high, and then the fields of `pages.Rows`.

    `fewer` and `more` tell whether there are rows beyond the page's low and high end.
    """
    rows = _rows(collection, walk)
    key = f"x.{collection.key}"
    direction = "DESC" if walk.descending else "ASC"
    order = f"{key} {direction}"
    sort = f"ORDER BY {order}" if walk.descending != walk.from_high else ""
    first_piece = pieces = ""
    if chunked and collection.text:
        rows = _within_bytes(collection, rows)
    elif collection.text:
        rows = _in_pieces(collection, rows, direction)
        first_piece = "FILTER (WHERE x.piece = 0)"
        pieces = f""",
            array_agg({key} ORDER BY {order}) FILTER (WHERE x.piece > 0) AS rest,
            array_agg(x.piece ORDER BY {order}) FILTER (WHERE x.piece > 0) AS pieces"""
    floor = "p.low" if walk.bounded and walk.descending else "1"
    ceiling = "p.high" if walk.bounded and not walk.descending else str(MAX_NUMBER)
    return f"""
    SELECT p.low, p.high, p.total, i.items, i.last,
        {collection.cursor.format(end="first")}, {collection.cursor.format(end="last")},
        EXISTS (SELECT FROM {collection.table} x WHERE {collection.owner}
            AND {key} < i.first AND {key} >= {floor}),
        EXISTS (SELECT FROM {collection.table} x WHERE {collection.owner}
            AND {key} > i.last AND {key} <= {ceiling}),
        {"i.rest, i.pieces" if pieces else "NULL, NULL"}
    FROM ({collection.parent}) p
    CROSS JOIN LATERAL (
        SELECT string_agg({collection.json}, ',' {sort}) {first_piece} AS items,
            min({key}) AS first, max({key}) AS last{pieces}
        FROM ({rows}) x
    ) i"""


@cache
def piece_query(collection: Collection, *, descending: bool) -> str:
    """Return a statement that finds the rows with the given keys, as JSON in one string."""
    key = f"x.{collection.key}"
    direction = "DESC" if descending else "ASC"
    return f"""
    SELECT string_agg({collection.json}, ',' ORDER BY {key} {direction})
    FROM ({collection.parent}) p
    JOIN {collection.table} x ON {collection.owner} AND {key} = ANY(%(keys)s::bigint[])"""
