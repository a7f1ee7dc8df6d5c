"""No private name of a library is used: they change without notice."""

import ast
import importlib
import inspect
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from types import ModuleType

import django
import redis.asyncio.connection
import redis.connection
import uvicorn.server

from local_stack.applications import ROOT

FOLDERS = ("contract", "web", "numbering_service", "crud_service", "local_stack", "bench", "tests")
LIBRARIES = {
    *("redis", "hiredis", "uvicorn", "uvloop", "httptools", "django", "rest_framework"),
    *("celery", "kombu", "elasticsearch", "elastic_transport", "psycopg", "fastapi", "starlette"),
}
# Public, in spite of the underscore.
PUBLIC = {"_asdict", "_exit", "_fields", "_make", "_meta", "_replace"}
# Not private by its name, but meant for uvicorn alone.
PROTOCOLS = "uvicorn.protocols"
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
            is_private = any(part.startswith("_") for part in parts) or name.startswith(PROTOCOLS)
            if parts[0] in LIBRARIES and is_private:
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
        importlib.import_module(f"{PROTOCOLS}.http.httptools_impl"),
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
    found = ast.parse(
        "from redis._parsers import x\nimport uvicorn._types\n"
        "from uvicorn.protocols import http\nc._writer.transport"
    )
    assert [*private_imports(found)] == [
        *("redis._parsers.x", "uvicorn._types", "uvicorn.protocols.http")
    ]
    assert [*private_accesses(found)] == ["_writer"]
    assert "_writer" in names_of_libraries()


def test_no_private_name_of_redis_or_uvicorn_is_used() -> None:
    for path in SOURCES:
        tree = ast.parse(path.read_text())
        assert not [*private_imports(tree)], path
        assert not names_of_libraries() & {*private_accesses(tree)}, path


def test_the_source_uses_no_private_attribute_of_another_object() -> None:
    for path in SOURCES:
        if path.relative_to(ROOT).parts[0] != "tests":
            assert {*private_accesses(ast.parse(path.read_text()))} <= PUBLIC, path


def overridden(module: ModuleType) -> Iterator[str]:
    """Yield private methods of libraries' classes that a module's classes override."""
    for cls in vars(module).values():
        if not inspect.isclass(cls) or cls.__module__ != module.__name__:
            continue
        for name, member in vars(cls).items():
            if _is_private(name) and inspect.isfunction(member):
                bases = [base for base in cls.__mro__[1:] if name in vars(base)]
                yield from (
                    f"{cls.__name__}.{name}"
                    for base in bases
                    if base.__module__.partition(".")[0] not in FOLDERS
                )


PRINT_OVERRIDDEN = """
from tests.unit.repository.test_private_names import modules, overridden
every = [*modules()]
found = [name for module in every for name in overridden(module)]
print(*found, len(found), "of", min(len(every), 200))
"""


def _is_private(name: str) -> bool:
    """Whether a name is private; with an underscore at its end as well, it is an enum's."""
    return name.startswith("_") and not name.endswith("_")


def modules() -> Iterator[ModuleType]:
    """Import and yield every module of the services."""
    django.setup()
    for path in SOURCES:
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        if name.startswith(("web.", "numbering_service.", "crud_service.")):
            yield importlib.import_module(name.removesuffix(".__init__"))


def test_no_class_of_ours_overrides_a_private_method_of_a_library() -> None:
    """Subclasses use private names without an access that can be seen."""
    # In another process: Django's settings are read once, and other tests have their own.
    done = subprocess.run(
        [sys.executable, "-c", PRINT_OVERRIDDEN],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "crud_service.settings"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("0 of 200\n", 0), done


def test_an_overridden_private_method_is_seen() -> None:
    module = ModuleType("ours")
    exec(  # noqa: S102 - the class as a module would define it
        "from django.core.handlers.wsgi import WSGIRequest\n"
        "class Ours(WSGIRequest):\n    def _set_content_type_params(self, meta): ...",
        vars(module),
    )
    assert [*overridden(module)] == ["Ours._set_content_type_params"]
