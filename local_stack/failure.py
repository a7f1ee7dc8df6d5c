"""The one error type that this package reports, as a clear line."""

import errno
from pathlib import Path


class StackError(Exception):
    """The stack can't run; the message is one line that names what is missing or taken."""


def explain(error: OSError, directory: Path) -> StackError:
    """Turn an operating system's error, above all a full disk, into a clear line."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return StackError(f"the disk that holds {error.filename or directory} is full")
    if error.errno in {errno.EACCES, errno.EPERM}:
        return StackError(
            f"no permission for {error.filename or directory}: was it created by another user?"
        )
    return StackError(f"{error.filename or directory}: {error.strerror}")
