"""A file system that can be full: a tmpfs whose size is what is used, or more again."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOM = "1g"


class SmallDisk:
    """A mounted directory."""

    def __init__(self, path: Path):
        self.path = path

    def fill(self) -> None:
        """Leave not one free block."""
        for _ in range(100):
            usage = os.statvfs(self.path)
            # Refused when more was written between the look and the resize.
            if self.resize(str((usage.f_blocks - usage.f_bfree) * usage.f_frsize)):
                return
        raise AssertionError("the disk fills faster than it can be made small")

    def make_room(self) -> None:
        assert self.resize(ROOM)

    def resize(self, size: str) -> bool:
        """Change its size; false when more than that is in use."""
        command = ["mount", "-o", f"remount,size={size}", str(self.path)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


@contextmanager
def small_disk(path: Path) -> Iterator[SmallDisk]:
    """Mount one; skips the test, loudly, where that is not allowed."""
    path.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={ROOM},mode=700", "tmpfs", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"NO FULL DISK: this machine allows no mount: {done.stderr.strip()}")
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)
