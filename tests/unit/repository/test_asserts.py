"""Every assertion of the tests can fail."""

import ast
from collections.abc import Iterator

from local_stack.applications import ROOT

# What they return is true, whatever it holds.
ALWAYS_TRUE = {"iter", "map", "filter", "zip", "reversed", "enumerate", "open", "object", "super"}
# Whatever is next counts as true, unless it happens to be 0 or empty.
HARDLY_FALSE = {"next", "repr", "print"}
LITERALS = (ast.GeneratorExp, ast.Lambda, ast.JoinedStr)


def cannot_fail(test: ast.expr) -> bool:
    """Return whether an asserted expression is true whatever the code under test does."""
    match test:
        case ast.Constant(value=value):
            return bool(value)
        case ast.Tuple() | ast.List() | ast.Set():
            return bool(test.elts)
        case ast.Call(func=ast.Name(id=name)):
            return name in ALWAYS_TRUE | HARDLY_FALSE
        case ast.Compare(left=left, ops=[ast.Eq() | ast.Is()], comparators=[right]):
            return ast.dump(left) == ast.dump(right)
        case ast.BoolOp(op=ast.Or()):
            return any(map(cannot_fail, test.values))
        case ast.BoolOp(op=ast.And()):
            return all(map(cannot_fail, test.values))
    return isinstance(test, LITERALS)


def asserts(source: str) -> Iterator[ast.Assert]:
    return (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Assert))


def test_no_assertion_is_true_whatever_happens() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in (ROOT / "tests").rglob("*.py")
        if "node_modules" not in path.parts
        for node in asserts(path.read_text())
        if cannot_fail(node.test)
    ]
    assert found == []


def test_the_kinds_that_cannot_fail_are_known() -> None:
    kinds = ["next(it)", "(x for x in y)", "(x == 1, 'no')", "x == x", "lambda: x", "f'{x}'"]
    kinds += ["True", "zip(x, y)", "x == 1 or 'no'"]
    assert [kind for kind in kinds if not cannot_fail(asserted(kind))] == []
    assert not any(cannot_fail(asserted(kind)) for kind in ("x", "x == 1", "any(x)", "[]", "f(x)"))


def asserted(text: str) -> ast.expr:
    return next(asserts(f"assert {text}")).test
