"""Settings of crud_service, from an environment of the test's own."""

import re
import runpy
from typing import Any

import pytest

from local_stack.applications import ROOT

NAMES = re.findall(r"`([A-Z_]+)`", (ROOT / "docs/settings.md").read_text())


@pytest.fixture
def unset(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def read() -> dict[str, Any]:
    """Return the settings that the environment makes."""
    return runpy.run_path(str(ROOT / "crud_service/settings.py"))


def test_an_empty_variable_counts_as_unset(unset: pytest.MonkeyPatch) -> None:
    expected = read()
    for name in NAMES:
        unset.setenv(name, "")
    settings = read()
    assert settings["INVALID"] == []
    for name in {*NAMES} & settings.keys():
        assert settings[name] == expected[name], name
