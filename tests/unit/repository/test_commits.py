"""What is answered as done is as safe as PostgreSQL is configured to have it."""

import re

from local_stack.applications import ROOT


def test_no_code_changes_what_a_commit_waits_for() -> None:
    sources = {path: path.read_text() for path in (ROOT / "crud_service").rglob("*.py")}
    sets_it = re.compile(r"synchronous_commit\s*(=|TO\b)")
    assert [path for path, text in sources.items() if sets_it.search(text)] == []
