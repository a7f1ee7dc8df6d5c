"""The one kind of failure that this package reports: a clear line."""

import errno
from pathlib import Path


class StackError(Exception):
    """Why the stack can't run, in one line that names what is missing or taken."""


def explain(error: OSError, directory: Path) -> StackError:
    """The line for an operating system's error, a full disk above all."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return StackError(f"the disk that holds {error.filename or directory} is full")
    if error.errno in {errno.EACCES, errno.EPERM}:
        return StackError(
            f"no permission for {error.filename or directory}: was it made by another user?"
        )
    return StackError(f"{error.filename or directory}: {error.strerror}")
