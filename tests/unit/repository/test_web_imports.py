"""The server uses only public names of uvicorn: private ones change without notice."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_stack.applications import ROOT

PACKAGES = ("contract", "web", "numbering_service", "crud_service", "local_stack", "bench")
FILES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
OWNERS = {"self", "cls"}


def imported(tree: ast.AST) -> Iterator[str]:
    """Return every dotted name that a module imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def private_of_uvicorn(name: str) -> bool:
    parts = name.split(".")
    is_private = "protocols" in parts or any(part.startswith("_") for part in parts)
    return parts[0] == "uvicorn" and is_private


def foreign_attributes(tree: ast.AST) -> Iterator[str]:
    """Return private attributes of anything but the object that the code belongs to."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
            is_own = isinstance(node.value, ast.Name) and node.value.id in OWNERS
            if not is_own and not node.attr.endswith("__"):
                yield f"{node.lineno}: {ast.unparse(node)}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_private_of_uvicorn_is_imported(path: Path) -> None:
    assert [
        name for name in imported(ast.parse(path.read_text())) if private_of_uvicorn(name)
    ] == []


@pytest.mark.parametrize("path", sorted((ROOT / "web").glob("*.py")), ids=lambda path: path.name)
def test_the_server_uses_no_private_attribute_of_another_object(path: Path) -> None:
    assert list(foreign_attributes(ast.parse(path.read_text()))) == []
