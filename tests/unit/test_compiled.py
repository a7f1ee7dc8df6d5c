"""A compiled copy of the packages is run for as long as it is that of the sources."""

import fcntl
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import PIPE, STDOUT

import pytest

from local_stack.applications import ROOT, applications
from local_stack.compiled import compile as compiler
from local_stack.compiled.tree import PACKAGES, TREES, digest_of, import_variables, remove_older
from local_stack.failure import StackError
from tests.children import child
from tests.polling import wait_until

SOURCE = "web/server/head.py"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with a source in each package."""
    for name in (
        *(f"{package}/__init__.py" for package in PACKAGES),
        SOURCE,
        "requirements/dev.txt",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {name}\n")
    return tmp_path


@pytest.fixture
def tree(root: Path) -> Path:
    """What a compilation would have left for its sources."""
    tree = root / "trees" / digest_of(root)
    tree.mkdir(parents=True)
    return tree


def test_what_was_compiled_of_the_sources_is_imported_in_their_place(
    root: Path, tree: Path
) -> None:
    found = import_variables({}, tree.parent, root)
    assert found["PYTHONPATH"].split(os.pathsep) == [str(tree), str(root)]
    assert found["PYTHONSAFEPATH"] == "1"


def test_the_sources_are_run_if_that_is_asked_for(root: Path, tree: Path) -> None:
    assert import_variables({"COMPILED": "0"}, tree.parent, root) == {}


def test_what_is_asked_for_and_not_compiled_is_an_error(root: Path, tree: Path) -> None:
    change(root)
    with pytest.raises(StackError, match="make compiled"):
        import_variables({"COMPILED": "1"}, tree.parent, root)


def test_folders_of_the_environment_are_kept(root: Path, tree: Path) -> None:
    found = import_variables({"PYTHONPATH": "/of/somebody"}, tree.parent, root)
    assert found["PYTHONPATH"].endswith(f"{os.pathsep}/of/somebody")


def change(root: Path) -> None:
    with (root / SOURCE).open("a") as source:
        source.write("# more\n")


def rename(root: Path) -> None:
    (root / SOURCE).rename(root / "web" / "head.py")


def lock_again(root: Path) -> None:
    (root / "requirements" / "dev.txt").write_text("mypy==3\n")


@pytest.mark.parametrize("act", [change, rename, lock_again])
def test_nothing_stale_is_run(root: Path, tree: Path, act: Callable[[Path], None]) -> None:
    act(root)
    assert import_variables({}, tree.parent, root) == {}


def test_bytecode_beside_the_sources_changes_nothing(root: Path, tree: Path) -> None:
    cached = root / "web" / "server" / "__pycache__" / "head.cpython-311.pyc"
    cached.parent.mkdir()
    cached.write_bytes(b"bytecode")
    assert digest_of(root) == tree.name


def test_compiled_services_are_looked_up_at_each_start() -> None:
    urls = {"CRUD_URL": "", "NUMBERING_URL": "", "REDIS_URL": ""}
    looked_up = {
        part.name for part in applications(urls) if part.environment_at_start is import_variables
    }
    assert looked_up == {"crud", "numbering"}


def test_every_module_to_compile_exists() -> None:
    assert [name for name in compiler.MODULES if not (ROOT / name).is_file()] == []


def test_the_two_copies_that_were_asked_for_last_are_kept(tmp_path: Path) -> None:
    for age, name in enumerate(("b.unfinished", "d", "a", "c")):
        (tmp_path / name / "web").mkdir(parents=True)
        log = (tmp_path / name).with_suffix(".log")
        log.touch()
        for path in (tmp_path / name, log):
            os.utime(path, (1e9 - age, 1e9 - age))
    (tmp_path / "lock").touch()
    remove_older(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"d", "d.log", "a", "a.log", "lock"}


def is_waiting_for_a_lock(pid: int) -> bool:
    """Whether a process waits; others may hold a lock that a process of this id left to them."""
    waiting = re.compile(rf"-> FLOCK +ADVISORY +WRITE {pid} ")
    return waiting.search(Path("/proc/locks").read_text()) is not None


def test_ctrl_c_ends_a_compilation_without_a_traceback(interruptible: None) -> None:
    command = [sys.executable, "-m", "local_stack", "compiled"]
    TREES.mkdir(exist_ok=True)
    with (TREES / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with child(command, cwd=ROOT, stdout=PIPE, stderr=STDOUT, text=True) as waiting:
            wait_until(lambda: is_waiting_for_a_lock(waiting.pid), 60)
            waiting.send_signal(signal.SIGINT)
            output, _ = waiting.communicate(timeout=60)
    assert (waiting.returncode, output) == (128 + signal.SIGINT, "\n")
