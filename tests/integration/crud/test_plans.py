"""The query plans of all statements of the API: none scans a large table."""

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from crud_service.api.writing import (
    Changes,
    Row,
    application_row,
    change_statement,
    chat_row,
    message_row,
    update_statement,
)
from crud_service.chat.filters import FILTERS
from crud_service.chat.highest_numbers import HIGHEST_CHAT, HIGHEST_MESSAGE
from crud_service.chat.list_queries import (
    ACTIVE_CHATS,
    ACTIVE_CHATS_AND_LAST_MESSAGES,
    APPLICATIONS,
    APPLICATIONS_BY_KEY,
    CHANGED_MESSAGES,
    CHATS,
    CHATS_AND_LAST_MESSAGES,
    MESSAGES,
    Collection,
    ScanOrder,
    filtered,
    list_query,
    piece_query,
)
from crud_service.chat.reading import APPLICATION, CHAT, MESSAGE
from crud_service.stores.database import connect
from tests.conftest import empty_tables
from tests.integration.crud_rows import Database
from tests.integration.plans import blocks_touched, explain

TOKEN = f"{500:0>24}"
ORDERS = [
    ScanOrder(backward=backward, descending=descending, bounded=bounded)
    for backward in (False, True)
    for descending in (False, True)
    for bounded in (False, True)
]
LISTED: dict[str, str | int] = {"low": "1500", "high": "9223372036854775807", "limit": 100}
PARENT = {
    "access_token": TOKEN,
    "chat_number": "1",
    "sender": "Ann",
    "created_after": "2022-08-09T22:17:52.599+00:00",
    "created_before": "2922-08-09T22:17:52.599+00:00",
}
STATEMENTS: dict[str, tuple[str, Any]] = {
    "application": (APPLICATION, (TOKEN,)),
    "chat": (CHAT, (TOKEN, "1")),
    "message": (MESSAGE, (TOKEN, "1", "1")),
    "many messages": (MESSAGE, (",".join([TOKEN] * 200), "1," * 199 + "1", "7," * 199 + "7")),
    "highest chat": (HIGHEST_CHAT, (TOKEN,)),
    "highest message": (HIGHEST_MESSAGE, (TOKEN, "1")),
}
ROWS: dict[str, tuple[Row, Changes]] = {
    "application": (application_row(TOKEN), {"name": "x"}),
    "chat": (chat_row(TOKEN, 1), {"name": None, "metadata": "{}"}),
    "message": (message_row(TOKEN, 1, 1), {"body": "x", "metadata": None}),
}
for name, (row, changes) in ROWS.items():
    for statement in (update_statement, change_statement):
        sql = statement(row, changes)
        STATEMENTS[f"{statement.__name__} {name}"] = (sql, {**row.key, **changes})
MANY_ROWS = """
INSERT INTO applications (access_token, name, chat_count)
SELECT lpad(n::text, 24, '0'), 'x', 2 FROM generate_series(1, 5000) n;
INSERT INTO chats (application_id, number, message_count)
SELECT id, n, 3 FROM applications, generate_series(1, 2) n;
INSERT INTO messages (chat_id, number, body)
SELECT id, n, 'message' FROM chats, generate_series(1, 3) n;
INSERT INTO messages (chat_id, number, body)
SELECT chats.id, n, 'message'
FROM chats JOIN applications ON application_id = applications.id,
    generate_series(4, 20000) n
WHERE access_token = lpad('500', 24, '0') AND chats.number = 1;
INSERT INTO rotations (application_id, former_token, idempotency_key, answer, finished)
SELECT id, lpad('f' || id, 24, '0'), 'once', '', true FROM applications;
INSERT INTO deleted_applications (digest, application_id)
SELECT sha256(convert_to('deleted' || n, 'UTF8')), n FROM generate_series(1, 5000) n;
ANALYZE applications, chats, messages, rotations, deleted_applications;
"""
# A handful of rows each, however much is stored.
SMALL = {"application_totals", "conflicts", "set_aside_entries"}


@pytest.fixture(scope="module")
def big_url(crud: dict[str, str]) -> str:
    """Add enough rows that a scan costs more than an index; no test of the module changes them."""
    empty_tables(crud["DATABASE_URL"])
    with psycopg.connect(crud["DATABASE_URL"], autocommit=True) as database:
        database.execute(MANY_ROWS)
    return crud["DATABASE_URL"]


@pytest.fixture
def big(big_url: str) -> Iterator[Database]:
    with psycopg.connect(big_url, autocommit=True) as database:
        yield database


def walked_through(database: Database, sql: str, parameters: Any) -> set[str]:
    """Return the tables that a statement scans, also with a generic plan."""
    found: set[str] = set()
    for mode in ("force_custom_plan", "force_generic_plan"):
        database.execute(f"SET plan_cache_mode = {mode}")
        plan = psycopg.ClientCursor(database).mogrify(sql, parameters)
        lines = database.execute(f"EXPLAIN {plan}").fetchall()
        text = "\n".join(line for (line,) in lines)
        found |= set(re.findall(r"Seq Scan on (\w+)", text))
    return found - SMALL


LISTS = [
    *(APPLICATIONS, CHATS, MESSAGES, APPLICATIONS_BY_KEY, CHANGED_MESSAGES),
    *(CHATS_AND_LAST_MESSAGES, ACTIVE_CHATS, ACTIVE_CHATS_AND_LAST_MESSAGES),
    *(filtered(MESSAGES, (name,)) for name in FILTERS),
    *(filtered(MESSAGES, FILTERS), filtered(CHANGED_MESSAGES, FILTERS)),
]


@pytest.mark.parametrize("of", LISTS)
def test_no_list_scans_a_table(big: Database, of: Collection) -> None:
    bounds = {"low": TOKEN, "high": None} if of is APPLICATIONS else {}
    parameters = {**PARENT, **LISTED, **bounds}
    for order in ORDERS:
        assert walked_through(big, list_query(of, order), parameters) == set()
    assert walked_through(big, list_query(of, ScanOrder(), chunked=True), parameters) == set()
    if of is not APPLICATIONS:
        pieces = {**PARENT, "low": "1", "high": "2", "wanted": "{1,2}"}
        assert walked_through(big, piece_query(of), pieces) == set()


@pytest.mark.parametrize("name", STATEMENTS)
def test_no_statement_scans_a_table(big: Database, name: str) -> None:
    assert walked_through(big, *STATEMENTS[name]) == set()


def test_no_page_of_a_large_table_is_planned_again(big: Database) -> None:
    bounds = {"low": "1", "high": "9223372036854775807", "limit": 100}

    def read(connection: psycopg.Connection[Any]) -> list[tuple[Any, ...]]:
        for _ in range(20):
            connection.execute(list_query(MESSAGES, ScanOrder()), {**PARENT, **bounds})
        return connection.execute(
            "SELECT custom_plans FROM pg_prepared_statements WHERE generic_plans > 0"
        ).fetchall()

    with contextlib.closing(connect()) as connection:
        assert read(connection) == [(0,)]


def buffers(database: Database, sql: str, **bounds: str) -> int:
    """How many blocks the statement of a list touches."""
    return blocks_touched(explain(database, sql, {**PARENT, **LISTED, **bounds}))


@pytest.mark.parametrize("of", [MESSAGES, CHANGED_MESSAGES], ids=["by number", "by change"])
def test_a_page_touches_as_little_at_the_end_as_at_the_start(big: Database, of: Collection) -> None:
    with big.transaction(force_rollback=True):
        if of is CHANGED_MESSAGES:
            big.execute("UPDATE messages SET change = number WHERE number > 3")
            big.execute("ANALYZE messages")
        sql = list_query(of, ScanOrder())
        buffers(big, sql, low="4")
        assert buffers(big, sql, low="19900") <= buffers(big, sql, low="4") * 1.2 + 5


@pytest.mark.parametrize("of", [ACTIVE_CHATS, ACTIVE_CHATS_AND_LAST_MESSAGES])
def test_a_page_of_active_chats_touches_as_little_at_the_end(big: Database, of: Collection) -> None:
    """Some chats have messages, which are in reverse order of their numbers, and some none."""
    with big.transaction(force_rollback=True):
        big.execute(
            """
            INSERT INTO chats (application_id, number, last_message_id)
            SELECT id, n, CASE WHEN n > 10000 THEN 20001 - n ELSE 0 END
            FROM applications, generate_series(3, 20000) n WHERE access_token = %s
            """,
            (TOKEN,),
        )
        big.execute("ANALYZE chats")
        sql = list_query(of, ScanOrder(backward=True, descending=True))
        low = str(of.lowest)
        first = buffers(big, sql, low=low)
        for high in ("9000", "200", "-9223372036854765808", "-9223372036854775000"):
            assert buffers(big, sql, low=low, high=high) <= first * 1.2 + 5, high
