"""A line that no test reaches has a reason beside it, and some folders have no other."""

import re

import pytest

from local_stack.applications import ROOT

PACKAGES = ("contract", "web", "numbering_service", "crud_service", "local_stack")
PRAGMA = re.compile(r"#\s*pragma: no (?:cover|branch)(.*)")


def pragmas(text: str) -> list[str]:
    """Return what follows each pragma of a text."""
    return PRAGMA.findall(text)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_line_left_out_of_the_coverage_says_why(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        for reason in pragmas(path.read_text()):
            assert re.fullmatch(r" - \w.{10,}", reason), path


def test_a_pragma_without_a_reason_is_seen() -> None:
    assert pragmas("x = 1  # pragma: no cover\n") == [""]


def test_what_must_be_covered_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    (complete,) = re.findall(r"^COMPLETE := (.*)$", makefile, re.MULTILINE)
    for pattern in complete.split(","):
        assert any(ROOT.glob(pattern)), pattern
    assert "make coverage" in (ROOT / ".ci" / "run").read_text()
