"""How PostgreSQL executes a statement."""

from typing import Any

import psycopg

from tests.integration.crud_rows import Database


def explain(database: Database, sql: str, values: dict[str, Any]) -> dict[str, Any]:
    """Execute a statement; return the topmost node of its plan, with what it did."""
    statement = psycopg.ClientCursor(database).mogrify(sql, values)
    explained = database.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}")
    ((plan,),) = explained.fetchall()
    top: dict[str, Any] = plan[0]["Plan"]
    return top


def blocks_touched(plan: dict[str, Any]) -> int:
    """How many blocks a statement touched, in memory or not."""
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])
