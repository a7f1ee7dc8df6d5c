"""What is answered as done is as safe as PostgreSQL is configured to have it."""

from local_stack.applications import ROOT


def test_no_code_changes_what_a_commit_waits_for() -> None:
    sources = {path: path.read_text() for path in (ROOT / "crud_service").rglob("*.py")}
    # It reads the setting, to warn.
    del sources[ROOT / "crud_service" / "startup.py"]
    assert [path for path, text in sources.items() if "synchronous_commit" in text] == []
