"""The README of each package names every public method."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from chat_backend_client import ApplicationClient, ChatClient, Client
from tests.clients.packages import PYTHON, TYPESCRIPT

METHOD = re.compile(r"^  (?:async )?\*?([a-zA-Z]+)[<(]", re.MULTILINE)


def python_methods() -> Iterator[str]:
    for kind in (Client, ApplicationClient, ChatClient):
        members = vars(kind).items()
        yield from (name for name, it in members if callable(it) and not name.startswith("_"))


def typescript_methods() -> set[str]:
    return set(METHOD.findall((TYPESCRIPT / "src" / "client.ts").read_text())) - {"constructor"}


@pytest.mark.parametrize(
    ("folder", "methods"),
    [(PYTHON, set(python_methods())), (TYPESCRIPT, typescript_methods())],
    ids=["python", "typescript"],
)
def test_the_readme_names_every_method(folder: Path, methods: set[str]) -> None:
    text = (folder / "README.md").read_text()
    assert len(methods) > 20
    assert sorted(name for name in methods if f"`{name}(" not in text) == []
