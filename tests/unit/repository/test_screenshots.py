"""`make screenshots` finds what it imports, which pytest finds by settings of its own."""

import re
import subprocess
import sys

from local_stack.applications import ROOT


def test_it_gets_as_far_as_looking_for_chromium() -> None:
    rule = re.search(r"^screenshots:.*\n\t@(.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert rule
    command = rule[1].replace("$(BIN)/python", sys.executable)
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=ROOT,
        env={"PATH": "/nowhere"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "Chromium is not installed\n")
