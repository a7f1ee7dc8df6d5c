"""A real Chromium, driven by Node.js programs in `tests/end_to_end/browser`.

Chromium is the system's own. Where there is none and we are root on a Debian, it is installed;
elsewhere tests that need it are skipped with a loud line.
"""

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.node_packages import require_node_packages

PROGRAMS = Path(__file__).parent / "end_to_end" / "browser"
# The shell first: it is the same engine without a browser's windows, for each of which the others
# start two processes more.
NAMES = (
    "chromium-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
)
INSTALL = (
    ("apt-get", "update", "-qq"),
    ("apt-get", "install", "-y", "-qq", "--no-install-recommends", NAMES[0]),
)


def require_chromium() -> str:
    """Return the path of a Chromium, with everything needed to drive it."""
    path = find_chromium()
    if path is None and os.geteuid() == 0 and shutil.which("apt-get"):
        install_chromium()
        path = find_chromium()
    if path is None:
        pytest.skip("NO CHROMIUM: install it to have this tried in a real browser")
    require_node_packages(PROGRAMS)
    return path


def find_chromium() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def install_chromium() -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in INSTALL:
        # What goes wrong shows in there being no Chromium.
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(command, env=environment, capture_output=True, timeout=200, check=False)
