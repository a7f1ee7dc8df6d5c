"""A function that another module uses says what it does, so that nobody has to read how."""

import ast
from collections.abc import Iterator

import pytest

from local_stack.applications import ROOT

PACKAGES = ("contract", "web", "numbering_service", "crud_service", "local_stack")
Function = ast.FunctionDef | ast.AsyncFunctionDef
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): ast.parse(path.read_text())
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
    if "migrations" not in path.parts
}


def used_names(tree: ast.Module) -> Iterator[str]:
    """Yield the full names of what a module imports, and uses of modules that it imports."""
    modules: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                modules[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    yield from modules.values()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield f"{modules.get(node.value.id)}.{node.attr}"


USED = {name for tree in MODULES.values() for name in used_names(tree)}


def undocumented(module: str, tree: ast.Module, used: set[str]) -> list[str]:
    """Return the public functions of a module that others use, and that have no docstring."""
    return [
        node.name
        for node in tree.body
        if isinstance(node, Function)
        and not node.name.startswith("_")
        and f"{module}.{node.name}" in used
        and not ast.get_docstring(node)
    ]


@pytest.mark.parametrize("module", MODULES)
def test_a_function_that_other_modules_use_is_documented(module: str) -> None:
    assert undocumented(module, MODULES[module], USED) == []


def test_a_missing_docstring_is_seen() -> None:
    tree = ast.parse("def used(): pass\ndef told():\n    'Do it.'\ndef own(): pass\n")
    used = {*used_names(ast.parse("from a import used, told")), "a.told"}
    assert undocumented("a", tree, used) == ["used"]
    assert "a.b.c" in {*used_names(ast.parse("from a import b\nb.c()"))}
