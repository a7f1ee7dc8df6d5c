"""A function that another module uses says what it does, so that nobody has to read how.

One with many parameters says what each of them is, and one that raises something says so.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache

import pytest

from local_stack.applications import ROOT

PACKAGES = ("contract", "web", "numbering_service", "crud_service", "local_stack")
# So many parameters explain themselves, and so do those that mean the same wherever they stand.
FEW = 2
SAME_EVERYWHERE = {"connection", "access_token", "chat_number", "number", "preconditions"}
Function = ast.FunctionDef | ast.AsyncFunctionDef
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path
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


# Not while tests are collected, which every process does for all of them.
@cache
def trees() -> dict[str, ast.Module]:
    return {module: ast.parse(path.read_text()) for module, path in MODULES.items()}


@cache
def used_everywhere() -> set[str]:
    return {name for tree in trees().values() for name in used_names(tree)}


def used_functions(module: str, tree: ast.Module, used: set[str]) -> Iterator[Function]:
    """Yield the public functions of a module that other modules use."""
    functions = (node for node in tree.body if isinstance(node, Function))
    for function in functions:
        if not function.name.startswith("_") and f"{module}.{function.name}" in used:
            yield function


def undocumented(function: Function) -> list[str]:
    """Return what the docstring of a function does not say."""
    text = ast.get_docstring(function) or ""
    _, _, listed = text.partition("Args:\n")
    lacks = [] if text else ["what it does"]
    names = [name for name in parameters(function) if name not in SAME_EVERYWHERE]
    if len(names) > FEW:
        lacks += [name for name in names if not re.search(rf"\b{name}\b.*: ", listed)]
    if raises(function) and not re.search("[Rr]aise", text):
        lacks.append("what it raises")
    return lacks


def parameters(function: Function) -> list[str]:
    own = function.args
    return [each.arg for each in (*own.posonlyargs, *own.args, *own.kwonlyargs)]


def raises(function: Function) -> bool:
    """Return whether a function itself raises an error of its own choice."""
    found = (node.exc for node in ast.walk(function) if isinstance(node, ast.Raise))
    return any(isinstance(error, ast.Call) or is_class(error) for error in found)


def is_class(error: ast.expr | None) -> bool:
    return isinstance(error, ast.Name) and error.id[0].isupper()


@pytest.mark.parametrize("module", MODULES)
def test_a_function_that_other_modules_use_is_documented(module: str) -> None:
    functions = used_functions(module, trees()[module], used_everywhere())
    assert {it.name: lacks for it in functions if (lacks := undocumented(it))} == {}


def test_a_missing_docstring_is_seen() -> None:
    tree = ast.parse("def used(): pass\ndef told():\n    'Do it.'\ndef own(): pass\n")
    used = {*used_names(ast.parse("from a import used, told")), "a.told"}
    functions = used_functions("a", tree, used)
    assert [(it.name, undocumented(it)) for it in functions] == [
        ("used", ["what it does"]),
        ("told", []),
    ]
    assert "a.b.c" in {*used_names(ast.parse("from a import b\nb.c()"))}


@pytest.mark.parametrize(
    ("head", "docstring", "lacks"),
    [
        ("a, b", "Do it.", []),
        ("connection, a, b", "Do it.", []),
        ("a, b, c", "Do it.", ["a", "b", "c"]),
        ("a, *, b, c", "Do it.\n\nArgs:\n    a: one.\n    c: three.", ["b"]),
        ("a, b, c", "Do it.\n\nArgs:\n    a, b: two.\n    c: three.", []),
    ],
)
def test_parameters_that_are_not_described_are_seen(
    head: str, docstring: str, lacks: list[str]
) -> None:
    (function,) = ast.parse(f"def f({head}):\n    {docstring!r}").body
    assert undocumented(function) == lacks


@pytest.mark.parametrize(
    ("statement", "lacks"),
    [("raise", []), ("raise error", []), ("raise Bad", 1), ("raise bad.Bad('x')", 1)],
)
def test_an_error_that_is_not_named_is_seen(statement: str, lacks: object) -> None:
    (function,) = ast.parse(f"def f():\n    'Do it.'\n    {statement}").body
    assert undocumented(function) == (["what it raises"] if lacks else [])
    (function,) = ast.parse(f"def f():\n    'Do it; raises Bad.'\n    {statement}").body
    assert undocumented(function) == []
