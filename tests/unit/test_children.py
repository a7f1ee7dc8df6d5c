"""A test that fails leaves no process behind."""

from pathlib import Path

import pytest

from tests.children import child, is_running
from tests.line_program import LineProgram
from tests.polling import wait_until

SLEEP = ["sleep", "600"]


class FailedTest(Exception):
    """What a failed assertion would raise."""


def test_a_child_of_a_failed_test_is_killed() -> None:
    with pytest.raises(FailedTest), child(SLEEP) as process:
        raise FailedTest
    assert process.returncode == -9


def test_its_group_is_killed_too(tmp_path: Path) -> None:
    named = tmp_path / "grandchild"
    script = f"sleep 600 & echo $! > {named}; wait"

    def fail_with_a_group() -> None:
        with child(["/bin/sh", "-c", script], start_new_session=True):
            wait_until(lambda: named.exists() and bool(named.read_text().strip()), 10)
            raise FailedTest

    with pytest.raises(FailedTest):
        fail_with_a_group()
    grandchild = int(named.read_text())
    wait_until(lambda: not is_running(grandchild), 10)


def test_a_child_of_a_test_that_passes_may_end_by_itself() -> None:
    with child(["/bin/sh", "-c", "sleep 0.1; exit 3"]) as process:
        pass
    assert process.returncode == 3


def test_a_line_program_of_a_failed_test_is_killed() -> None:
    """It may never answer, and so never read that its input has ended."""

    def ask_and_fail() -> None:
        with LineProgram("tests.unit.endless_program", {}) as program:
            assert program.answer_to("are you there?") == "always"
            raise FailedTest

    with pytest.raises(FailedTest):
        ask_and_fail()


def test_popen_itself_is_used_where_its_end_is_seen_to() -> None:
    """`with subprocess.Popen` waits for a process that nobody ends when the block fails."""
    root = Path(__file__).parents[1]
    users = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        if "with subprocess.Popen" in path.read_text() and path != Path(__file__)
    }
    assert users == {"children.py"}
