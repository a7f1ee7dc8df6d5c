"""No private name of redis-py, hiredis or uvicorn is used: they change without notice."""

import ast
import inspect
from collections.abc import Iterator
from functools import cache

import redis.asyncio.connection
import redis.connection
import uvicorn.protocols.http.httptools_impl
import uvicorn.server

from local_stack.applications import ROOT

FOLDERS = ("contract", "web", "numbering_service", "crud_service", "local_stack", "bench", "tests")
LIBRARIES = {"redis", "hiredis", "uvicorn"}
SOURCES = [
    path
    for folder in FOLDERS
    for path in (ROOT / folder).rglob("*.py")
    if "node_modules" not in path.parts
]


def private_imports(tree: ast.Module) -> Iterator[str]:
    """Return private modules and names that a module imports from the libraries."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] in LIBRARIES and any(part.startswith("_") for part in parts):
                yield name


def private_accesses(tree: ast.Module) -> Iterator[str]:
    """Return private attributes that are accessed on anything but the object itself."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute) or not node.attr.startswith("_"):
            continue
        is_own = isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"}
        if not is_own and not node.attr.startswith("__"):
            yield node.attr


@cache
def names_of_libraries() -> frozenset[str]:
    """Return the private attributes of the libraries' connections and servers."""
    modules = (
        redis.connection,
        redis.asyncio.connection,
        uvicorn.server,
        uvicorn.protocols.http.httptools_impl,
    )
    return frozenset(
        node.attr
        for module in modules
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not node.attr.startswith("__")
    )


def test_the_names_are_found() -> None:
    found = ast.parse("from redis._parsers import x\nimport uvicorn._types\nc._writer.transport")
    assert [*private_imports(found)] == ["redis._parsers.x", "uvicorn._types"]
    assert [*private_accesses(found)] == ["_writer"]
    assert "_writer" in names_of_libraries()


def test_no_private_name_of_redis_or_uvicorn_is_used() -> None:
    for path in SOURCES:
        tree = ast.parse(path.read_text())
        assert not [*private_imports(tree)], path
        assert not names_of_libraries() & {*private_accesses(tree)}, path


def test_no_class_of_ours_overrides_a_private_method_of_uvicorn() -> None:
    """Subclasses use private names without an access that can be seen."""
    bases = [
        (path.relative_to(ROOT).as_posix(), ast.unparse(base))
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
        for base in node.bases
    ]
    assert not [each for each in bases if "HttpToolsProtocol" in each[1] or "H11" in each[1]]
