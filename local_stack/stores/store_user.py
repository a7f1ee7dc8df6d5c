"""Which user PostgreSQL and Elasticsearch run as: they refuse to run as root."""

import os
import pwd
from dataclasses import dataclass
from pathlib import Path

from local_stack.failure import StackError

CAP_DAC_OVERRIDE = 1
NONE = -1


@dataclass(frozen=True)
class StoreUser:
    """A user for launch.py; -1 means no change."""

    uid: int = NONE
    gid: int = NONE
    capability: int = NONE

    def own(self, directory: Path) -> Path:
        """Create a directory that only this user may use."""
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o700)
        self.give(directory)
        return directory

    def give(self, path: Path) -> None:
        if self.uid != NONE:
            os.chown(path, self.uid, self.gid)


def store_user(*must_be_readable: Path) -> StoreUser:
    """Return the user for the stores: the caller, or the system's `nobody` for root.

    Where `nobody` can't enter the directories that lead to our files (a clone
    below /root, a umask of 077), it keeps the capability to do so: we must not
    change the modes of somebody's home directory. Raises StackError without a `nobody`.
    """
    if os.geteuid() != 0:
        return StoreUser()
    try:
        user = pwd.getpwnam("nobody")
    except KeyError:
        raise StackError("root needs a user `nobody` to run PostgreSQL as") from None
    closed = any(not is_open(path.resolve()) for path in must_be_readable)
    return StoreUser(user.pw_uid, user.pw_gid, CAP_DAC_OVERRIDE if closed else NONE)


def is_open(path: Path) -> bool:
    """Whether everybody may read a path, through every directory that leads to it."""
    if not path.stat().st_mode & 0o004:
        return False
    return all(parent.stat().st_mode & 0o001 for parent in (path, *path.parents) if parent.is_dir())
