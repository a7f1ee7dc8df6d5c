"""Compiled copies of the packages, each in a folder that is named by what it was made from.

A service is started with that of the present sources, so a stale one is never found.
"""

import fcntl
import hashlib
import os
import shutil
import sys
import sysconfig
from collections.abc import Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from local_stack.console import Waiting, done
from local_stack.failure import StackError
from local_stack.process import run_to_end

ROOT = Path(__file__).resolve().parent.parent.parent
COMPILER = Path(__file__).with_name("compile.py")
TREES = ROOT / ".local-compiled"
PACKAGES = ("contract", "web", "crud_service", "numbering_service")
KEPT = 2
SUFFIXES = {".py", ".lua", ".html", ".js", ".css", ".svg"}


def import_variables(
    variables: Mapping[str, str] = os.environ, trees: Path = TREES, root: Path = ROOT
) -> dict[str, str]:
    """Return the variables with which Python imports the compiled packages; none without any.

    Raises StackError if `COMPILED=1` asks for them and there are none.

    Args:
        variables: with `COMPILED=0`, the sources are run in any case.
        trees: has the compiled copies.
        root: has the sources.
    """
    wanted = variables.get("COMPILED")
    if wanted == "0":
        return {}
    tree = trees / digest_of(root)
    if not tree.exists():
        if wanted == "1":
            raise StackError("the present sources are not compiled: type make compiled")
        return {}
    path = (str(tree), str(root), *filter(None, (variables.get("PYTHONPATH"),)))
    # Without the second, `python -m` would find the sources of the current folder first.
    return {"PYTHONPATH": os.pathsep.join(path), "PYTHONSAFEPATH": "1"}


def digest_of(root: Path) -> str:
    """Return a digest of the sources, and of all else that a compiled copy depends on."""
    digest = hashlib.sha256(f"{sys.version} {sysconfig.get_config_var('EXT_SUFFIX')}".encode())
    digest.update(COMPILER.read_bytes())
    lock = root / "requirements" / "dev.txt"  # has the version of mypy
    for path in (lock, *sources(root)):
        content = path.read_bytes()
        digest.update(f"\0{path.relative_to(root)}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:16]


def sources(root: Path) -> list[Path]:
    """Return all files of the packages, and none that an editor has put beside them."""
    found = (path for package in PACKAGES for path in (root / package).rglob("*"))
    return sorted(path for path in found if path.suffix in SUFFIXES)


def compile_sources() -> None:
    """Compile the present sources unless they are; raises StackError where that is not possible."""
    TREES.mkdir(exist_ok=True)
    with (TREES / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        tree = TREES / digest_of(ROOT)
        if not tree.exists():
            make(tree)
        tree.touch()
        remove_older(TREES)


def remove_older(trees: Path) -> None:
    """Remove all compiled copies but those that were asked for last, and their logs.

    More than one is kept, as a running service may have been started with the one before. What an
    interrupted compilation left, whose name has a suffix, is not one of them.
    """
    found = sorted(
        filter(Path.is_dir, trees.iterdir()),
        key=lambda tree: (not tree.suffix, tree.stat().st_mtime),
    )
    for tree in found[:-KEPT]:
        shutil.rmtree(tree)
        tree.with_suffix(".log").unlink(missing_ok=True)


def make(tree: Path) -> None:
    if missing := missing_tool():
        raise StackError(f"nothing is compiled without {missing}")
    unfinished = tree.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    for package in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, unfinished / package, ignore=ignored)
    if digest_of(ROOT) != tree.name:
        raise StackError("the sources were changed while they were copied: try again")
    compile_in(unfinished)
    unfinished.rename(tree)


def missing_tool() -> str:
    """Return what a compilation would lack on this machine; nothing if it has all."""
    compiler = str(sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        return f"a C compiler ({compiler})"
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        return "Python.h (Debian and Ubuntu: apt install python3-dev)"
    return "" if find_spec("mypyc") and find_spec("setuptools") else "mypy: type make compiled"


def compile_in(directory: Path) -> None:
    """Compile; raises StackError, which names the log, if that fails."""
    log, waiting = directory.with_suffix(".log"), Waiting()
    command = (sys.executable, str(COMPILER), str(directory))
    with log.open("wb") as output:
        if not run_to_end(command, output, partial(waiting.tell, "compiling")):
            raise StackError(f"the sources can't be compiled: {log} says why")
    done("compiled", waiting.seconds)
