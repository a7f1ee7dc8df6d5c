"""Node.js programs that tests run: their pinned packages, installed once.

Without Node.js the tests are skipped with a loud line; where CI=true they fail.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

IN_CI = os.environ.get("CI", "").lower() in {"1", "true"}
INSTALL_SECONDS = 240


def require_node_packages(folder: Path) -> None:
    """Install a folder's package-lock.json, unless that was done; skip or fail without Node.js."""
    missing = [name for name in ("node", "npm") if shutil.which(name) is None]
    if missing:
        stop(f"NO {' AND NO '.join(missing).upper()}: install Node.js 20 or newer")
    lock = folder / "package-lock.json"
    stamp = folder / "node_modules" / ".installed"
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()
    with lock.open() as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text() == digest:
            return
        install(folder)
        stamp.write_text(digest)


def install(folder: Path) -> None:
    """`npm ci`, which runs no script of any package."""
    command = ["npm", "ci", "--ignore-scripts", "--prefer-offline", "--loglevel=error"]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
    )
    if done.returncode != 0:
        stop(f"NPM CANNOT INSTALL {folder.name}: {done.stderr.strip()[-500:]}")


def stop(reason: str) -> None:
    if IN_CI:
        pytest.fail(reason)
    pytest.skip(reason)
