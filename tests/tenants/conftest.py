"""A hostile application and its neighbour, on the stack of all tests.

TENANT_PATIENCE  by how much the bounds are stretched; 20, for machines that are busy: 1 on one
                 that has nothing else to do, to see the bounds themselves kept, with everything
                 at its full size, and each act alone
TENANT_SECONDS   how long the neighbour is measured beside each act; 3, at full size 8, and there
                 three times as long beside all acts together
TENANT_CHANGES   how many changes one application has waiting to be indexed; 10,000, at full
                 size 200,000
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bench.running_stack import RunningStack
from local_stack.applications import ROOT
from tests.children import child
from tests.fault.rig.index_check import IndexCheck
from tests.notes import noted
from tests.tenants.neighbour import Measured

PATIENCE = float(os.environ.get("TENANT_PATIENCE") or 20)
# With stretched bounds more would find no more: most of the time went by until all was indexed.
IS_FULL_SIZE = PATIENCE == 1
SECONDS = float(os.environ.get("TENANT_SECONDS") or (8 if IS_FULL_SIZE else 3))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What the neighbour saw at the worst beside each act."""
    lines = noted(terminalreporter, "neighbour")
    if lines:
        terminalreporter.section(f"neighbours (TENANT_PATIENCE={PATIENCE:g})")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def index_check(stack: RunningStack) -> Iterator[IndexCheck]:
    with IndexCheck(stack) as checking:
        yield checking


@contextmanager
def neighbour(stack: RunningStack) -> Iterator[Measured]:
    """Measures the quiet application while the `with` lasts; what it saw is there at the end."""
    command = (sys.executable, "-m", "tests.tenants.neighbour")
    measured = Measured()
    with child(
        [*command, stack.crud_url, stack.numbering_url],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        yield measured
        said, _ = process.communicate()
    vars(measured).update(json.loads(said))
