"""The plans of all statements that a database executes, functions and triggers included.

PostgreSQL's `auto_explain` writes them to its log. A plan tells what a statement means better than
its text: by which conditions the rows of each table are found.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import psycopg

from tests.integration.tables_of_chats import OF_CHATS
from tests.polling import eventually

Node = Mapping[str, Any]

SETTINGS = {
    "session_preload_libraries": "auto_explain",
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_nested_statements": "on",
    "auto_explain.log_format": "json",
}
CONDITIONS = ("Index Cond", "Recheck Cond", "Filter")
JOIN_CONDITIONS = ("Hash Cond", "Merge Cond", "Join Filter")
WHOLE_WITHIN_SECONDS = 10


class Scan(NamedTuple):
    """How a statement finds rows of a table.

    `joins` are the conditions that join it to others, where they are not among its own.
    """

    table: str
    alias: str
    conditions: str
    joins: str
    statement: str

    @property
    def names_the_chat(self) -> bool:
        """Whether the rows are found by `chat_id`, which is equal to something."""
        own = rf"\b({self.alias}\.)?chat_id"
        of_join = rf"\b{self.alias}\.chat_id"
        return is_equal(own, self.conditions) or is_equal(of_join, self.joins)


def is_equal(column: str, conditions: str) -> bool:
    """Return whether a column, a regular expression, is equal to something in conditions."""
    return re.search(rf"{column} = | = {column}\b", conditions) is not None


def log_plans(database_url: str) -> None:
    """Have PostgreSQL log the plans of the sessions that begin from now on."""
    name = database_url.rpartition("/")[2]
    with psycopg.connect(database_url, autocommit=True) as connection:
        for setting, value in SETTINGS.items():
            connection.execute(f"ALTER DATABASE \"{name}\" SET {setting} = '{value}'")


class PlanLog:
    """What is added to the log of a PostgreSQL."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._read = log.stat().st_size

    def scans(self) -> list[Scan]:
        """Return the scans of tables of chats since the last call."""
        # A stream whose reader has gone may be asking once more: PostgreSQL's write of a plan to
        # its log is seen page by page.
        added = eventually(self._added, is_whole, WHOLE_WITHIN_SECONDS)
        self._read += len(added)
        return [
            scan
            for plan in plans(added.decode())
            for scan in scans(plan["Plan"], plan["Query Text"])
        ]

    def _added(self) -> bytes:
        with self._log.open("rb") as file:
            file.seek(self._read)
            return file.read()


def is_whole(added: bytes) -> bool:
    """Return whether no plan at the end of a log is half written."""
    try:
        return not added or (added.endswith(b"\n") and all(plans(added.decode())))
    except ValueError:
        return False


def plans(log: str) -> Iterator[Node]:
    """Yield the plans in a log."""
    decoder = json.JSONDecoder()
    for match in re.finditer(r" plan:\s+", log):
        yield decoder.raw_decode(log, match.end())[0]


def scans(node: Node, statement: str, joins: str = "") -> Iterator[Scan]:
    """Yield the scans of tables of chats in a node of a plan and below it.

    Args:
        node: the node.
        statement: what the plan is of.
        joins: the conditions of the joins above the node.
    """
    table = node.get("Relation Name")
    if table in OF_CHATS and "Scan" in node["Node Type"]:
        conditions = " AND ".join(conditions_of(node))
        yield Scan(str(table), node["Alias"], conditions, joins, statement)
    joins = " AND ".join([joins, *(node[name] for name in JOIN_CONDITIONS if name in node)])
    for child in node.get("Plans", ()):
        yield from scans(child, statement, joins)


def conditions_of(node: Node) -> Iterator[str]:
    """Yield the conditions of a scan, those of its indexes included."""
    yield from (node[name] for name in CONDITIONS if name in node)
    for child in node.get("Plans", ()):
        if child["Node Type"].startswith("Bitmap"):
            yield from conditions_of(child)
