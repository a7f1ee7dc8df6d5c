"""Exports and imports as clients and operators run them, and what is left in the tables."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import httpx
from django.core.management import call_command

from tests.integration.crud_rows import Database

TABLES = ("applications", "chats", "messages")


def export(http: httpx.Client, application: str) -> list[bytes]:
    answer = http.get(f"{application}/export")
    assert answer.status_code == 200, answer.text
    return answer.content.splitlines()


def write(path: Path, lines: list[bytes]) -> Path:
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def import_file(path: Path) -> str:
    """Run the command in this process; return the path of the new application."""
    printed = StringIO()
    call_command("import_application", str(path), stdout=printed)
    return f"/applications/{printed.getvalue().strip()}"


def without_token(lines: list[bytes]) -> list[bytes]:
    first = json.loads(lines[0])
    del first["access_token"]
    return [json.dumps(first).encode(), *lines[1:]]


def rows(database: Database) -> dict[str, list[Any]]:
    """How many rows each table has, and the total of applications."""
    found = {name: database.execute(f"SELECT count(*) FROM {name}").fetchall() for name in TABLES}
    total = database.execute("SELECT sum(total)::bigint FROM application_totals").fetchall()
    return {**found, "total": total}
