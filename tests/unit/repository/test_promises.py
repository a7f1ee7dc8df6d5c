"""docs/promises.md names tests that exist."""

import re

from local_stack.applications import ROOT


def test_every_test_named_in_the_promises_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "promises.md").read_text()))
    sources = (path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    defined = {name for source in sources for name in re.findall(r"def (test_\w+)\(", source)}
    assert named
    assert named - defined == set()
