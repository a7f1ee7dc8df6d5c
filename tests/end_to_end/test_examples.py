"""The client examples run unchanged and print what they should."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.running_stack import RunningStack
from local_stack.applications import ROOT
from tests.clients.packages import PYTHON, install_tarball
from tests.node_packages import stop

pytestmark = pytest.mark.timeout(500)


def run_example(stack: RunningStack, folder: Path, *command: str | Path) -> str:
    """Return what an example prints when run against the stack, in a folder."""
    addresses = {"CRUD_URL": stack.crud_url, "NUMBERING_URL": stack.numbering_url}
    addresses["PYTHONPATH"] = str(PYTHON)
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **addresses, "NO_PROXY": "127.0.0.1", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_client_in_python_creates_reads_follows_and_finds(stack: RunningStack) -> None:
    printed = run_example(stack, ROOT, sys.executable, "examples/client.py")
    read, followed, found = printed.splitlines()
    assert "'body': 'Hello from Python'" in read
    assert followed == read.replace("}", ", 'chat_number': 1}")
    assert found == f"[{read}]"


def test_the_client_in_javascript_creates_reads_follows_and_finds(
    stack: RunningStack, tmp_path: Path
) -> None:
    if shutil.which("node") is None:
        stop("NO NODE: install Node.js 18 or newer")
    install_tarball(tmp_path)
    shutil.copy(ROOT / "examples" / "client.mjs", tmp_path)
    printed = run_example(stack, tmp_path, "node", "client.mjs")
    assert printed.count("body: 'Hello from JavaScript'") == 3
    assert printed.count("  number: 1") == 3
    assert printed.count("chat_number: 1") == 1
