"""Readers find their way in the tree: small folders, and unique module names."""

import ast
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_stack.applications import ROOT

PACKAGES = ("contract", "web", "numbering_service", "crud_service", "local_stack")
MODULES = [
    path
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
    if not path.name.startswith("__") and "migrations" not in path.parts
]
FOLDERS = sorted({path.parent.relative_to(ROOT).as_posix() for path in MODULES})
OTHER_FOLDERS = ["bench", "clients", "docs", "examples", "ops", "postman", "requirements", "tests"]
MOST_MODULES = 16
# They mean the same wherever they stand; Django and Celery look for some by these names.
SAME_EVERYWHERE = {"settings", "documentation", "apps", "admin", "models"}
# A command has the name of what it calls; `contract.tasks` has the names of `worker.tasks`.
PAIRS = {"requeue", "reshard", "tasks"}


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_has_few_modules(folder: str) -> None:
    modules = [path for path in MODULES if path.parent == ROOT / folder]
    assert len(modules) <= MOST_MODULES


def test_no_module_name_means_two_things() -> None:
    names = Counter(path.stem for path in MODULES)
    assert {name for name, times in names.items() if times > 1} <= SAME_EVERYWHERE | PAIRS


@pytest.mark.parametrize("folder", [*FOLDERS, *OTHER_FOLDERS])
def test_every_folder_is_in_the_drawing(folder: str) -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    drawing = text.partition("## Layout")[2].partition("## ")[0]
    name = folder.removeprefix("crud_service/").removeprefix("numbering_service/")
    if "management" not in Path(folder).parts:
        assert re.search(rf"(?<![\w/])({folder}|{name})(?![\w/])", drawing)


def imported(source: str) -> Iterator[str]:
    """Yield the top-level names of the modules that a source imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0]


def test_the_contract_imports_the_standard_library_only() -> None:
    for path in (ROOT / "contract").rglob("*.py"):
        assert {*imported(path.read_text())} <= {*sys.stdlib_module_names, "contract"}, path
