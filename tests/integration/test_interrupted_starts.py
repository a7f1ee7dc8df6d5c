"""Ctrl-C while a program still imports what it needs, or before it has begun."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from local_stack.applications import ROOT
from tests.children import child

# Takes the place of a library, and holds up its import.
ENDLESS = "import time\nprint('importing', flush=True)\ntime.sleep(300)\n"
INTERRUPTED = "crud_service.manage: interrupted; it can be run again\n"


@pytest.mark.parametrize(
    ("command", "library", "code", "said"),
    [
        ("numbering_service", "uvicorn", -signal.SIGINT, ""),
        ("crud_service", "uvicorn", -signal.SIGINT, ""),
        ("crud_service.worker", "celery", -signal.SIGINT, ""),
        ("crud_service.manage reshard", "psycopg", -signal.SIGINT, ""),
        ("crud_service.manage reshard", "rest_framework", 128 + signal.SIGINT, INTERRUPTED),
    ],
)
def test_ctrl_c_during_imports_shows_no_traceback(
    interruptible: None, tmp_path: Path, command: str, library: str, code: int, said: str
) -> None:
    (tmp_path / f"{library}.py").write_text(ENDLESS)
    with child(
        [sys.executable, "-m", *command.split()],
        cwd=ROOT,
        # The sources, and a database that is not asked yet.
        env={"PYTHONPATH": str(tmp_path), "LOCAL_STACK": "1", "DATABASE_URL": "postgresql:///"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "importing\n"
        program.send_signal(signal.SIGINT)
        rest, _ = program.communicate(timeout=60)
    assert (program.returncode, rest) == (code, said)
